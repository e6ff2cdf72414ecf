"""The index beside a sealed segment: what find reads by it, and that nothing is believed of one that doesn't fit."""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
import random
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import folders
import logs
import oracle
import pytest
from crc32c import crc32c

import walcore
from walcore import index as index_module
from walcore import seal as seal_module
from walcore import search, sources
from walcore.errors import WalDamageWarning
from walcore.frames import FrameReader
from walcore.headers import MAX_HEADER_BYTES
from walcore.index import (
    BLOCK_BYTES,
    MIN_SEALED_BYTES,
    Block,
    IndexState,
    check_index,
    look_up,
    read_block,
    read_index,
)  # fmt: skip
from walcore.seal import index_segment, seal_segment
from walcore.segments import Directory

SUFFIX = ".walcore-index"
COUNT = 12_000


def ids_of(kind: str, number: int) -> list[int]:
    """The ids of one segment; those of 'again' come in every segment, and twice in each."""
    draw = random.Random(number)
    if kind == "rising":
        return list(range(number * COUNT, (number + 1) * COUNT))
    if kind == "random":
        return [draw.randint(-(2**31), 2**31 - 1) for _ in range(COUNT)]
    return [*range(5000), *range(7000)]


def write(path: Path, kind: str, segments: int = 3) -> dict[int, int]:
    """A log of sealed segments; returns each id's newest LSN."""
    newest = {}
    with walcore.open(path, store_uuid=logs.STORE, max_segment_bytes=64 << 20) as wal:
        for number in range(segments):
            ids = ids_of(kind, number)
            draw = random.Random(-number)
            lexicals = [f"value {draw.getrandbits(160):x} of some length" for _ in ids]
            first, _ = wal.log_mint_many(ids, "L", lexicals)
            newest |= {id: first + at for at, id in enumerate(ids)}
            wal.rotate()
    return newest


@pytest.fixture(params=["isal", "zlib"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        for module in (seal_module, sources, index_module):
            monkeypatch.setattr(module, "codec", lambda: zlib)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int]]:
    path = tmp_path_factory.mktemp("kept") / "wal"
    return path, write(path, "random")


@pytest.fixture
def log(kept: tuple[Path, dict[int, int]], tmp_path: Path) -> tuple[Path, dict[int, int]]:
    return shutil.copytree(kept[0], tmp_path / "wal"), kept[1]


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the segments that find reads from their beginning."""
    names: list[str] = []

    class Counting(FrameReader):
        def __init__(self, segment, fd, size, **rest) -> None:  # type: ignore[no-untyped-def]
            if rest.get("source") is None:
                names.append(segment.name)
            super().__init__(segment, fd, size, **rest)

    monkeypatch.setattr(search, "FrameReader", Counting)
    return names


def sealed_in(path: Path) -> list[Path]:
    return sorted(path.glob("*.gz"), key=lambda one: one.stat().st_mtime_ns)


def found(path: Path, id: int) -> int | None:
    record = walcore.find(path, id)
    assert record is None or record.id == id
    return record.lsn if record else None


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


def test_blocks_are_whole_frames_that_inflate_by_themselves(log: tuple[Path, dict[int, int]]) -> None:
    for path in sealed_in(log[0]):
        content = gzip.decompress(path.read_bytes())
        with path.with_name(path.name + SUFFIX).open("rb") as file, path.open("rb") as sealed:
            index = read_index(file.fileno(), os.fstat(file.fileno()).st_size)
            assert index is not None
            assert index.fits(sealed.fileno(), path.stat().st_size)
            pieces = [read_block(sealed.fileno(), block) for block in map(index.block, range(index.block_count))]
        assert len(pieces) > 2
        assert all(BLOCK_BYTES / 2 < len(piece or b"") < 2 * BLOCK_BYTES for piece in pieces[:-1])
        plain = b"".join(piece or b"" for piece in pieces)
        assert plain + oracle.summary_frame(max(0, *read_ids(plain)), zlib.crc32(plain)) == content
        for piece in pieces:
            oracle.frames(piece or b"")


def read_ids(plain: bytes) -> list[int]:
    return [oracle.parse(frame)["id"] for frame in oracle.frames(plain)[1:]]


def unpacked(page: bytes, key: int) -> list[tuple[int, int]]:
    """The pairs of key and block of a page whose first key is `key`, by the words of docs/format.md."""
    low, width, count, lowest = struct.unpack_from("<BBHI", page)
    assert int.from_bytes(page[-4:], "little") == crc32c(page[:-4])
    stream = int.from_bytes(page[8:-4], "little")
    at = 0

    def bits(size: int) -> int:
        nonlocal at
        value = stream >> at & (1 << size) - 1
        at += size
        return value

    pairs = []
    for number in range(count):
        if number:
            zeros = 0
            while not bits(1):
                zeros += 1
            key += bits(32) if zeros == 24 else zeros << low | bits(low)
        pairs.append((key, lowest + bits(width)))
    assert (at + 7) // 8 == len(page) - 12
    return pairs


@pytest.mark.parametrize("kind", ["rising", "random", "again"])
def test_the_bytes_of_an_index_are_those_that_the_format_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(index_module, "_RUN_IDS", 5000)  # several runs
    write(tmp_path / "wal", kind, 1)
    (sealed,) = sealed_in(tmp_path / "wal")
    data, packed = sealed.with_name(sealed.name + SUFFIX).read_bytes(), sealed.read_bytes()
    plain = gzip.decompress(packed)
    size, crc = struct.unpack("<II", data[-8:])
    foot = data[-8 - size : -8]
    assert crc32c(foot) == crc
    assert foot[:24] == b"walidx\0\1" + struct.pack("<Q", len(packed)) + packed[-8:]
    tells, header, boundaries, runs = struct.unpack_from("<IIII", foot, 24)
    assert (tells, foot[40 : 40 + header]) == (1, oracle.frames(plain)[0])
    at = 40 + header
    places = [*struct.iter_unpack("<QQ", foot[at : at + 16 * boundaries])]
    at += 16 * boundaries
    heads = [*struct.iter_unpack("<iiII", foot[at : at + 16 * runs])]
    at += 16 * runs
    assert runs > 1
    starts = [*struct.iter_unpack("<II", foot[at:]), (0, len(data) - 8 - size)]
    assert len(starts) - 1 == sum(pages for *_, pages in heads)
    found: set[tuple[int, int, int]] = set()
    lowest, highest = [], []
    for low, high, shift, pages in heads:
        lowest.append(low)
        highest.append(high)
        before: list[tuple[int, int]] = []
        for (key, start), (_, end) in itertools.pairwise(starts[: pages + 1]):
            pairs = unpacked(data[start:end], key)
            assert len(pairs) <= 512
            before += pairs
        assert before == sorted(set(before))
        found |= {(shift, key, block) for key, block in before}
        starts = starts[pages:]
    expected = set()
    for block, ((start, before_it), (end, behind)) in enumerate(itertools.pairwise(places)):
        piece = plain[before_it:behind]
        assert zlib.decompressobj(-15 if start else 31).decompress(packed[start:end]) == piece
        expected |= {
            (id, block) for id in (oracle.parse(frame).get("id") for frame in oracle.frames(piece)) if id is not None
        }
    assert (min(lowest), max(highest)) == (min(expected)[0], max(expected)[0])
    shifts = {shift for *_, shift, _ in heads}
    for id, block in expected:
        assert any((shift, id + 2**31 >> shift, block) in found for shift in shifts), id
    assert {(shift, key, block) for shift, key, block in found} <= {
        (shift, id + 2**31 >> shift, block) for id, block in expected for shift in shifts
    }


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
def test_no_search_leaves_a_descriptor_behind(log: tuple[Path, dict[int, int]]) -> None:
    path, newest = log
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


def test_any_flipped_bit_of_an_index_changes_no_answer(log: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = log
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
def test_an_index_cut_short_is_passed_over(log: tuple[Path, dict[int, int]], scanned: list[str], size: int) -> None:
    path, newest = log
    for sealed in sealed_in(path):
        file = path / (sealed.name + SUFFIX)
        file.write_bytes(file.read_bytes()[:size])
    id = ids_of("random", 1)[77]
    assert found(path, id) == newest[id]
    assert len(scanned) == 2


def test_the_index_of_another_file_is_passed_over(log: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = log
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
    log: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, newest = log
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


def test_a_block_that_is_not_as_the_index_tells_is_not_believed(log: tuple[Path, dict[int, int]]) -> None:
    sealed = sealed_in(log[0])[0]
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
        (log[0] / "big").write_bytes(big)
        with (log[0] / "big").open("rb") as opened:
            assert read_block(opened.fileno(), Block(0, len(big), size)) is None


def test_a_damaged_frame_in_a_block_that_still_unpacks_is_told(log: tuple[Path, dict[int, int]]) -> None:
    path, newest = log
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


def test_a_damaged_block_is_scanned_and_told(log: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = log
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
    log: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, newest = log
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


def test_a_purge_deletes_the_indexes_and_opening_those_of_segments_that_are_gone(
    log: tuple[Path, dict[int, int]], tmp_path: Path
) -> None:
    path, _ = log
    one = sealed_in(path)[0]
    for name in ("x.walcore-index", "wal-5.v1.walcore-index", "wal-x.v1.gz.walcore-index"):
        (path / name).write_text("somebody's")
    (path / "wal-99.v1.gz.walcore-index").write_text("an orphan")
    (path / "wal-98.v1.gz.walcore-index").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("outside")
    walcore.open(path).close()
    left = {name for name in folders.tree(path) if name.endswith(SUFFIX)}
    others = {"x.walcore-index", "wal-5.v1.walcore-index", "wal-x.v1.gz.walcore-index"}
    assert left == others | {sealed.name + SUFFIX for sealed in sealed_in(path)}
    assert (tmp_path / "target").read_text() == "outside"
    assert one.exists()
    with walcore.open(path) as wal:
        wal.purge_all_segments()
    assert {name for name in folders.tree(path) if name.endswith(SUFFIX)} == others


def test_opening_has_missing_and_stale_indexes_made(log: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = log
    one, two, three = (path / (sealed.name + SUFFIX) for sealed in sealed_in(path))
    one.unlink()
    sealed_in(path)[0].chmod(0o604)
    two.write_bytes(two.read_bytes()[:-1])
    sound = three.stat()
    with walcore.open(path) as wal:
        while wal.stats().index_backlog:
            assert wal.stats().state == "open"
    with Directory(path) as directory:
        assert all(check_index(directory, sealed.name, pages=True)[0] is IndexState.SOUND for sealed in sealed_in(path))
    assert three.stat().st_mtime_ns == sound.st_mtime_ns
    assert one.stat().st_mode == sealed_in(path)[0].stat().st_mode
    assert found(path, 12345) == newest.get(12345)
    assert scanned == []
    id = ids_of("random", 0)[3]
    assert found(path, id) == newest[id]
    assert scanned == [one.name.removesuffix(SUFFIX)]  # where its blocks begin can't be seen from outside


def test_a_damaged_or_small_segment_gets_no_index_that_tells_anything(
    log: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, _ = log
    sealed = sealed_in(path)[0]
    (path / (sealed.name + SUFFIX)).unlink()
    data = bytearray(sealed.read_bytes())
    data[len(data) // 2] ^= 0x55
    sealed.write_bytes(data)
    with Directory(path) as directory:
        (segment,) = (one for one in directory.segments() if one.name == sealed.name)
        assert index_segment(directory, segment)
        assert not index_segment(directory, segment)
        place = look_up(directory, sealed.name, 1)
        assert place is not None
        assert place.blocks is None
    with pytest.warns(WalDamageWarning):
        walcore.find(path, 0)
    assert sealed.name in scanned
    small = logs.write(path.parent / "small", "wal-1.v1", logs.plain([logs.record(1)])).parent
    walcore.open(small).close()
    assert [one.name for one in small.glob("wal-*")] == ["wal-1.v1.gz"]


def test_an_index_that_would_be_large_is_left_out(tmp_path: Path) -> None:
    draw = random.Random(1)
    with walcore.open(tmp_path / "wal") as wal:
        for _ in range(2):
            wal.log_mint_many([draw.randint(-(2**31), 2**31 - 1) for _ in range(20_000)], "L", "x")
            wal.rotate()
    for sealed in sealed_in(tmp_path / "wal"):
        assert sealed.stat().st_size > MIN_SEALED_BYTES
        assert (tmp_path / "wal" / (sealed.name + SUFFIX)).stat().st_size < sealed.stat().st_size / 10


def test_an_index_above_a_tenth_of_its_segment_tells_no_ids(tmp_path: Path, scanned: list[str]) -> None:
    draw = random.Random(1)
    ids = [draw.randint(-(2**31), 2**31 - 1) for _ in range(200_000)]
    with walcore.open(tmp_path / "wal", max_segment_bytes=64 << 20) as wal:
        wal.log_mint_many(ids, "L", "x")
        wal.rotate()
    (sealed,) = sealed_in(tmp_path / "wal")
    file = sealed.with_name(sealed.name + SUFFIX)
    with file.open("rb") as opened:
        index = read_index(opened.fileno(), file.stat().st_size)
    assert index is not None
    assert (index.tells, index.runs, index.block_count) == (False, (), 0)
    assert file.stat().st_size < 1000
    assert found(tmp_path / "wal", ids[100]) == 101
    assert scanned == [sealed.name]
    assert [name for name in sorted(folders.tree(tmp_path / "wal")) if name.startswith("wal-")] == [
        sealed.name,
        file.name,
    ]


def test_an_index_is_on_disk_before_it_has_its_name(
    log: tuple[Path, dict[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = log
    name = sealed_in(path)[0].name
    (path / (name + SUFFIX)).unlink()
    done: list[tuple[str, ...]] = []
    for call in ("sync_data", "replace"):
        real = getattr(Directory, call)

        def noting(self: Directory, *arguments: Any, call: str = call, real: Any = real) -> Any:
            done.append((call, *map(str, arguments)))
            return real(self, *arguments)

        monkeypatch.setattr(Directory, call, noting)
    with Directory(path) as directory:
        (segment,) = (one for one in directory.segments() if one.name == name)
        assert index_segment(directory, segment)
    (synced, replaced) = done
    assert (synced[0], synced[-1]) == ("sync_data", replaced[1])
    assert (replaced[0], replaced[2]) == ("replace", name + SUFFIX)


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


def test_a_segment_is_sealed_though_its_index_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records = [logs.record(lsn, lsn, os.urandom(20).hex()) for lsn in range(1, 2000)]
    start = logs.write(tmp_path / "start", "wal-1.v1", logs.plain(records)).parent

    def work(path: Path) -> None:
        with Directory(path) as directory:
            seal_segment(directory, directory.segments()[0])

    states = set()
    for _, left in folders.every_kill(monkeypatch, start, work):
        states.add(tuple(sorted(folders.tree(left))))
        assert walcore.recover(left).report.complete or len(list(left.glob("wal-1.v1*"))) > 1
        walcore.open(left).close()
        assert [name for name in folders.tree(left) if name.startswith("wal-") and not name.endswith(SUFFIX)] == [
            "wal-1.v1.gz"
        ]
        assert len(walcore.recover(left).records) == len(records)
    assert ("wal-1.v1", "wal-1.v1.gz", "wal-1.v1.gz" + SUFFIX) in states
    full = shutil.copytree(start, tmp_path / "full")
    real = index_module.IndexBuilder._open

    def refuse(self: index_module.IndexBuilder, source: int) -> int:
        real(self, source)
        raise OSError(errno.ENOSPC, "No space")

    monkeypatch.setattr(index_module.IndexBuilder, "_open", refuse)
    work(full)
    assert sorted(folders.tree(full)) == ["wal-1.v1.gz"]
    assert f"{full / 'wal-1.v1.gz'}{SUFFIX}: no index was made" in caplog.text


def test_a_run_of_ids_that_can_not_be_written_ends_no_sealing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_module, "_RUN_IDS", 1000)
    in_the_way = tmp_path / "wal" / ("wal-0.v1.gz" + SUFFIX + ".walcore-tmp")
    in_the_way.mkdir(parents=True)
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint_many(ids_of("rising", 0), "L", [f"{random.Random(id).getrandbits(160):x}" for id in range(COUNT)])
        wal.rotate()
        while wal.stats().seal_backlog:
            time.sleep(0.001)
        assert wal.stats().seal_failures == ()
    assert sealed_in(tmp_path / "wal")
    assert "no index was made" in caplog.text
    assert found(tmp_path / "wal", 77) == 78


def test_an_index_that_sends_everywhere_sends_nowhere(
    log: tuple[Path, dict[int, int]], monkeypatch: pytest.MonkeyPatch, scanned: list[str]
) -> None:
    path, newest = log
    id = next(iter(newest))
    monkeypatch.setattr(index_module, "_MOST_BLOCKS", 0)
    with Directory(path) as directory:
        places = [look_up(directory, sealed.name, id) for sealed in sealed_in(path)]
    assert all(place is not None and place.blocks in (None, ()) for place in places)
    assert found(path, id) == newest[id]
    assert scanned


def test_of_a_head_that_is_damaged_the_damage_is_told(log: tuple[Path, dict[int, int]]) -> None:
    path, newest = log
    for with_index in (True, False):
        for sealed in sealed_in(path):
            with sealed.open("r+b") as file:
                file.seek(14)
                file.write(b"\xff\xff\xff\xff")
            if not with_index:
                (path / (sealed.name + SUFFIX)).unlink()
        with pytest.warns(WalDamageWarning, match="unreadable_segment"):
            walcore.find(path, next(iter(newest)))


def test_opening_takes_away_the_index_of_a_small_segment(log: tuple[Path, dict[int, int]], tmp_path: Path) -> None:
    small = logs.log(tmp_path / "small", [logs.record(1)], seal=True)
    (name,) = [path.name for path in sealed_in(tmp_path / "small")]
    shutil.copy(log[0] / (sealed_in(log[0])[0].name + SUFFIX), tmp_path / "small" / (name + SUFFIX))
    walcore.open(tmp_path / "small").close()
    assert not list((tmp_path / "small").glob("*" + SUFFIX)), small


def test_a_header_of_the_greatest_length_fits_into_an_index(tmp_path: Path) -> None:
    records = [logs.record(lsn, lsn, os.urandom(20).hex()) for lsn in range(1, 2000)]
    content = logs.plain(records)
    old = next(iter(oracle.frames(content)))
    fields = json.loads(old[4:-4])
    room = MAX_HEADER_BYTES - len(json.dumps(fields | {"pad": ""}, separators=(",", ":"))) - 1
    line = json.dumps(fields | {"pad": "x" * room}, separators=(",", ":")).encode() + b"\n"
    assert len(line) == MAX_HEADER_BYTES
    content = logs.raw_frame(line) + content[len(old) :]
    logs.write(tmp_path, "wal-1.v1", content)
    with Directory(tmp_path) as directory:
        seal_segment(directory, directory.segments()[0])
        assert check_index(directory, "wal-1.v1.gz", pages=True)[0] is IndexState.SOUND
