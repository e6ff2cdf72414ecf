"""The index beside a sealed segment: its bytes, when it is made, and when it is taken away."""

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
from pathlib import Path
from typing import Any

import folders
import logs
import oracle
import pytest
from crc32c import crc32c
from indexes import COUNT, SUFFIX, found, ids_of, sealed_in, write
from resources import descriptors

import walcore
from walcore import index as index_module
from walcore.errors import WalDamageWarning
from walcore.headers import MAX_HEADER_BYTES
from walcore.index import BLOCK_BYTES, MIN_SEALED_BYTES, IndexState, check_index, look_up, read_block, read_index
from walcore.seal import index_segment, seal_segment
from walcore.segments import Directory


def test_blocks_are_whole_frames_that_inflate_by_themselves(indexed: tuple[Path, dict[int, int]]) -> None:
    for path in sealed_in(indexed[0]):
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


def test_a_purge_deletes_the_indexes_and_opening_those_of_segments_that_are_gone(
    indexed: tuple[Path, dict[int, int]], tmp_path: Path
) -> None:
    path, _ = indexed
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


def test_opening_has_missing_and_stale_indexes_made(indexed: tuple[Path, dict[int, int]], scanned: list[str]) -> None:
    path, newest = indexed
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
    indexed: tuple[Path, dict[int, int]], scanned: list[str]
) -> None:
    path, _ = indexed
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
    indexed: tuple[Path, dict[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = indexed
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


def test_of_an_index_without_its_segment_no_descriptor_is_kept(indexed: tuple[Path, dict[int, int]]) -> None:
    path, _ = indexed
    gone = sealed_in(path)[1]
    gone.unlink()
    before = descriptors()
    with Directory(path) as directory:
        for pages in (False, True):
            assert check_index(directory, gone.name, pages=pages)[0] is IndexState.NONE
    assert descriptors() == before


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


def test_of_a_head_that_is_damaged_the_damage_is_told(indexed: tuple[Path, dict[int, int]]) -> None:
    path, newest = indexed
    for with_index in (True, False):
        for sealed in sealed_in(path):
            with sealed.open("r+b") as file:
                file.seek(14)
                file.write(b"\xff\xff\xff\xff")
            if not with_index:
                (path / (sealed.name + SUFFIX)).unlink()
        with pytest.warns(WalDamageWarning, match="unreadable_segment"):
            walcore.find(path, next(iter(newest)))


def test_opening_takes_away_the_index_of_a_small_segment(indexed: tuple[Path, dict[int, int]], tmp_path: Path) -> None:
    small = logs.log(tmp_path / "small", [logs.record(1)], seal=True)
    (name,) = [path.name for path in sealed_in(tmp_path / "small")]
    shutil.copy(indexed[0] / (sealed_in(indexed[0])[0].name + SUFFIX), tmp_path / "small" / (name + SUFFIX))
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
