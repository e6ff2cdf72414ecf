"""The index beside a sealed segment: what find reads by it, and that nothing is believed of one that doesn't fit."""

from __future__ import annotations

import errno
import gzip
import os
import random
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import folders
import logs
import oracle
import pytest

import walcore
from walcore import index as index_module
from walcore import seal as seal_module
from walcore import search, sources
from walcore.errors import WalDamageWarning
from walcore.frames import FrameReader
from walcore.index import BLOCK_BYTES, MIN_SEALED_BYTES, IndexState, check_index, look_up, read_block, read_index
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
            pieces = [read_block(sealed.fileno(), block) for block in index.blocks()]
        assert len(pieces) > 2
        assert all(BLOCK_BYTES / 2 < len(piece or b"") < 2 * BLOCK_BYTES for piece in pieces[:-1])
        plain = b"".join(piece or b"" for piece in pieces)
        assert plain + oracle.summary_frame(max(0, *read_ids(plain)), zlib.crc32(plain)) == content
        for piece in pieces:
            oracle.frames(piece or b"")


def read_ids(plain: bytes) -> list[int]:
    return [oracle.parse(frame)["id"] for frame in oracle.frames(plain)[1:]]


def test_of_lsns_out_of_order_the_newest_counts(tmp_path: Path, scanned: list[str]) -> None:
    records = [logs.record(lsn, lsn, os.urandom(20).hex()) for lsn in range(1, 20_000)]
    records[50] = logs.record(19_001, 7, "the newest")
    records[19_000] = logs.record(51, 7, "further behind in the file")
    with Directory(logs.write(tmp_path / "wal", "wal-1.v1", logs.plain(records)).parent) as directory:
        seal_segment(directory, directory.segments()[0])
    record = walcore.find(tmp_path / "wal", 7)
    assert record is not None
    assert (record.lsn, record.lexical, scanned) == (19_001, "the newest", [])


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
    assert "no index was made" in caplog.text
