"""What find reads by the index beside a sealed segment, and that nothing is believed of one that doesn't fit."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import logs
import oracle
import pytest
from indexes import COUNT, SUFFIX, found, ids_of, sealed_in, write

import walcore
from walcore import index as index_module
from walcore.errors import WalDamageWarning
from walcore.index import BLOCK_BYTES, Block, IndexState, check_index, look_up, read_block, read_index
from walcore.seal import seal_segment
from walcore.segments import Directory


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize("kind", ["rising", "random", "again"])
def test_an_id_is_found_without_a_scan(tmp_path: Path, scanned: list[str], kind: str) -> None:
    newest = write(tmp_path / "wal", kind)
    for path in sealed_in(tmp_path / "wal"):
        size = path.with_name(path.name + SUFFIX).stat().st_size
        assert size <= path.stat().st_size / 10
        gzip.decompress(path.read_bytes())
    draw = random.Random(3)
    for id in [*draw.sample(sorted(newest), 40), min(newest), max(newest)]:
        assert found(tmp_path / "wal", id) == newest[id]
    for _ in range(40):
        id = draw.randint(-(2**31), 2**31 - 1)
        assert found(tmp_path / "wal", id) == newest.get(id)
    assert scanned == []
    assert walcore.recover(tmp_path / "wal").report.complete


def test_of_lsns_out_of_order_the_newest_counts(tmp_path: Path, scanned: list[str]) -> None:
    records = [logs.record(lsn, lsn, os.urandom(20).hex()) for lsn in range(1, 20_000)]
    records[50] = logs.record(19_001, 7, "the newest")
    records[19_000] = logs.record(51, 7, "further behind in the file")
    with Directory(logs.write(tmp_path / "wal", "wal-1.v1", logs.plain(records)).parent) as directory:
        seal_segment(directory, directory.segments()[0])
    record = walcore.find(tmp_path / "wal", 7)
    assert record is not None
    assert (record.lsn, record.lexical, scanned) == (19_001, "the newest", [])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in Linux's /proc")
def test_no_search_leaves_a_descriptor_behind(indexed: tuple[Path, dict[int, int]]) -> None:
    path, newest = indexed
    one, two, three = sealed_in(path)
    id = ids_of("random", 0)[5]
    before = len(list(Path("/proc/self/fd").iterdir()))

    def search_all() -> None:
        for _ in range(3):
            assert found(path, id) == newest[id]
            assert found(path, 4711) == newest.get(4711)
        with Directory(path) as directory:
            for sealed in (one, two, three):
                check_index(directory, sealed.name, pages=True)
                look_up(directory, sealed.name, id)
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    search_all()
    index = path / (two.name + SUFFIX)
    whole = index.read_bytes()
    shutil.copy(path / (three.name + SUFFIX), index)
    search_all()
    for broken in (b"", whole[:-1], bytes([whole[0] ^ 255]) + whole[1:]):
        index.write_bytes(broken)
        search_all()
    index.unlink()
    search_all()


def test_any_flipped_bit_of_an_index_changes_no_answer(
    indexed: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, newest = indexed
    draw = random.Random(5)
    file = path / (sealed_in(path)[1].name + SUFFIX)
    whole = file.read_bytes()
    foot = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
    ids = draw.sample([id for id in ids_of("random", 1) if newest[id]], 5)
    for at in [*draw.sample(range(foot), 30), *range(foot, len(whole), 97), *range(len(whole) - 8, len(whole))]:
        broken = bytearray(whole)
        broken[at] ^= 1 << draw.randrange(8)
        file.write_bytes(broken)
        id = draw.choice(ids)
        assert found(path, id) == newest[id], at
    assert scanned


@pytest.mark.parametrize("size", [0, 1, 7, 8, 50, 5000, -1, -8])
def test_an_index_cut_short_is_passed_over(indexed: tuple[Path, dict[int, int]], scanned: list[str], size: int) -> None:
    path, newest = indexed
    for sealed in sealed_in(path):
        file = path / (sealed.name + SUFFIX)
        file.write_bytes(file.read_bytes()[:size])
    id = ids_of("random", 1)[77]
    assert found(path, id) == newest[id]
    assert len(scanned) == 2


def test_the_index_of_another_file_is_passed_over(indexed: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = indexed
    one, two, three = sealed_in(path)
    shutil.copy(path / (one.name + SUFFIX), path / (two.name + SUFFIX))
    id = ids_of("random", 1)[5]
    assert found(path, id) == newest[id]
    assert scanned == [two.name]
    # The same size, the same name: the last bytes tell.
    content = bytearray(gzip.decompress(three.read_bytes()))
    shutil.copy(path / (three.name + SUFFIX), tmp := path.parent / "index")
    replaced = three.read_bytes()
    three.write_bytes(replaced[:-8] + (zlib.crc32(content) ^ 1).to_bytes(4, "little") + replaced[-4:])
    assert tmp.exists()
    with Directory(path) as directory:
        assert look_up(directory, three.name, 1) is None
        assert look_up(directory, one.name, 1) is not None


def test_the_index_of_the_same_content_packed_otherwise_is_passed_over(
    indexed: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, newest = indexed
    sealed = sealed_in(path)[2]
    before = sealed.read_bytes()
    sealed.write_bytes(gzip.compress(gzip.decompress(before), 1))
    assert sealed.read_bytes()[-8:] == before[-8:]
    assert sealed.stat().st_size != len(before)
    with Directory(path) as directory:
        assert check_index(directory, sealed.name, pages=False)[0] is IndexState.STALE
        assert look_up(directory, sealed.name, 1) is None
    id = ids_of("random", 2)[5]
    assert (found(path, id), scanned) == (newest[id], [sealed.name])


def test_a_block_that_is_not_as_the_index_tells_is_not_believed(indexed: tuple[Path, dict[int, int]]) -> None:
    sealed = sealed_in(indexed[0])[0]
    with sealed.with_name(sealed.name + SUFFIX).open("rb") as file, sealed.open("rb") as packed:
        index = read_index(file.fileno(), os.fstat(file.fileno()).st_size)
        assert index is not None
        first, second = index.block(0), index.block(1)
        for block in (first, second):
            plain = read_block(packed.fileno(), block)
            assert plain
            assert len(plain) == block.size
            for wrong in (
                {"size": block.size - 1},
                {"size": block.size + 1},
                {"size": 0},
                {"size": -1},
                {"size": 1 << 30},
                {"end": block.start},
                {"end": block.end - 100},
                {"start": block.start + 1},
            ):
                assert read_block(packed.fileno(), replace(block, **wrong)) is None, wrong
        # Two blocks in one would be whole frames as well, but none that is gathered in memory for the asking.
        size = 9 * BLOCK_BYTES
        big = gzip.compress(bytes(size))
        (indexed[0] / "big").write_bytes(big)
        with (indexed[0] / "big").open("rb") as opened:
            assert read_block(opened.fileno(), Block(0, len(big), size)) is None


def test_a_damaged_frame_in_a_block_that_still_unpacks_is_told(indexed: tuple[Path, dict[int, int]]) -> None:
    path, newest = indexed
    sealed = sealed_in(path)[2]
    whole = sealed.read_bytes()
    with sealed.with_name(sealed.name + SUFFIX).open("rb") as file:
        index = read_index(file.fileno(), os.fstat(file.fileno()).st_size)
    assert index is not None
    block = index.block(1)
    with sealed.open("rb") as packed:
        sound = read_block(packed.fileno(), block)
        assert sound
        for at in range((block.start + block.end) // 2, block.end):
            sealed.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            plain = read_block(packed.fileno(), block)
            if plain is not None and plain != sound:
                break
        else:
            pytest.fail("no flipped bit leaves the block's size as it was")
    ids = [oracle.parse(frame)["id"] for frame in oracle.frames(sound)]
    before = ids[5]
    with pytest.warns(WalDamageWarning, match="a newer record of id"):
        record = walcore.find(path, before)
    assert record is not None
    assert record.lsn == newest[before]
    with pytest.warns(WalDamageWarning, match="a newer record of id"):
        assert walcore.find(path, ids[-1]) is None


def test_a_damaged_block_is_scanned_and_told(indexed: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = indexed
    sealed = sealed_in(path)[2]
    ids = ids_of("random", 2)
    data = bytearray(sealed.read_bytes())
    data[len(data) // 2] ^= 0x55
    sealed.write_bytes(data)
    with pytest.warns(WalDamageWarning, match="a newer record"):
        walcore.find(path, ids[COUNT // 2])
    assert scanned == [sealed.name, *scanned[1:]]
    assert found(path, ids[10]) == newest[ids[10]]  # in a block that is sound: of the others nothing is read


def test_a_link_or_folder_in_the_place_of_an_index_is_passed_over(
    indexed: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, newest = indexed
    one, two, three = (path / (sealed.name + SUFFIX) for sealed in sealed_in(path))
    one.rename(path.parent / "elsewhere")
    one.symlink_to(path.parent / "elsewhere")
    two.unlink()
    two.mkdir()
    three.unlink()
    os.mkfifo(three)
    id = ids_of("random", 0)[5]
    assert found(path, id) == newest[id]
    assert len(scanned) == 3
    with walcore.open(path) as wal:
        wal.purge_all_segments()
    assert (path.parent / "elsewhere").exists()
    assert [name.name for name in path.iterdir() if name.name.startswith("wal-")] == [two.name]


def test_many_runs_of_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanned: list[str]) -> None:
    monkeypatch.setattr(index_module, "_RUN_IDS", 1500)
    monkeypatch.setattr(index_module, "_FOOT_BYTES", 100)
    newest = write(tmp_path / "wal", "random", 1)
    with Directory(tmp_path / "wal") as directory, directory.opened(sealed_in(tmp_path / "wal")[0].name + SUFFIX) as fd:
        index = read_index(fd, os.fstat(fd).st_size)
        assert index is not None
        assert len(index.runs) > 2
    for id in random.Random(2).sample(sorted(newest), 30):
        assert found(tmp_path / "wal", id) == newest[id]
    assert scanned == []


def test_an_index_that_sends_everywhere_sends_nowhere(
    indexed: tuple[Path, dict[int, int]], monkeypatch: pytest.MonkeyPatch, scanned: list[str]
) -> None:
    path, newest = indexed
    id = next(iter(newest))
    monkeypatch.setattr(index_module, "_MOST_BLOCKS", 0)
    with Directory(path) as directory:
        places = [look_up(directory, sealed.name, id) for sealed in sealed_in(path)]
    assert all(place is not None and place.blocks in (None, ()) for place in places)
    assert found(path, id) == newest[id]
    assert scanned
