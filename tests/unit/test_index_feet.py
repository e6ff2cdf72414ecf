"""The foot of an index, written by somebody who knows how to make its checksum: none is believed beyond reason."""

from __future__ import annotations

import os
import random
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import folders
import logs
import oracle
import pytest
from crc32c import crc32c

import walcore
from walcore import index as index_module
from walcore import search
from walcore.headers import MAX_HEADER_BYTES
from walcore.index import Block, IndexState, check_index, look_up, read_block, read_index
from walcore.seal import seal_segment
from walcore.segments import Directory

NAME = "wal-1001.v1.gz"
HEAD = struct.Struct("<8sQ8sIIII")
BOUNDARY = struct.Struct("<QQ")
RUN = struct.Struct("<iiII")
PAGE = struct.Struct("<II")
PAGE_BYTES = 16 * 1024


@dataclass
class Foot:
    """All that a foot says, as docs/format.md has it."""

    magic: bytes
    size: int
    tail: bytes
    flags: int
    header: bytes
    boundaries: list[tuple[int, int]]
    runs: list[tuple[int, int, int, list[tuple[int, int]]]]
    pages: bytes
    behind: bytes = b""
    header_size: int | None = None
    counts: tuple[int, int] = (0, 0)
    """What is told too many of boundaries and of runs."""

    @classmethod
    def of(cls, data: bytes) -> Foot:
        foot_size, _ = PAGE.unpack(data[-8:])
        foot = data[-8 - foot_size : -8]
        magic, size, tail, flags, header_size, boundaries, runs = HEAD.unpack_from(foot)
        at = HEAD.size + header_size
        found = [BOUNDARY.unpack_from(foot, at + 16 * number) for number in range(boundaries)]
        at += 16 * boundaries
        heads = [RUN.unpack_from(foot, at + 16 * number) for number in range(runs)]
        at += 16 * runs
        tables = []
        for low, high, shift, pages in heads:
            tables.append((low, high, shift, [PAGE.unpack_from(foot, at + 8 * number) for number in range(pages)]))
            at += 8 * pages
        header = foot[HEAD.size : HEAD.size + header_size]
        return cls(magic, size, tail, flags, header, found, tables, data[: -8 - foot_size])

    def data(self) -> bytes:
        size = len(self.header) if self.header_size is None else self.header_size
        counts = len(self.boundaries) + self.counts[0], len(self.runs) + self.counts[1]
        foot = HEAD.pack(self.magic, self.size, self.tail, self.flags, size, *counts) + self.header
        foot += b"".join(BOUNDARY.pack(*one) for one in self.boundaries)
        foot += b"".join(RUN.pack(low, high, shift, len(table)) for low, high, shift, table in self.runs)
        foot += b"".join(PAGE.pack(*page) for *_, table in self.runs for page in table) + self.behind
        return self.pages + foot + PAGE.pack(len(foot), crc32c(foot))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed segment of three blocks with its index; its ids are 1001 to 1800."""
    draw = random.Random(1)
    records = [logs.record(id, id, draw.randbytes(1000).hex()) for id in range(1001, 1801)]
    path = tmp_path_factory.mktemp("made")
    logs.write(path, "wal-1001.v1", logs.plain(records))
    with Directory(path) as directory:
        seal_segment(directory, directory.segments()[0])
    return path


@pytest.fixture
def log(made: Path, tmp_path: Path) -> Path:
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def index_of(log: Path) -> Path:
    return log / (NAME + index_module.INDEX_SUFFIX)


def state(log: Path, foot: Foot | None = None) -> IndexState:
    if foot is not None:
        index_of(log).write_bytes(foot.data())
    with Directory(log) as directory:
        return check_index(directory, NAME, pages=True)[0]


def blocks(log: Path, id: int) -> tuple[Block, ...] | str | None:
    """In which blocks `id` can be; "nothing" where the index isn't believed."""
    with Directory(log) as directory:
        place = look_up(directory, NAME, id)
    return place.blocks if place else "nothing"


def test_a_foot_that_is_taken_apart_and_put_together_is_the_same(log: Path) -> None:
    data = index_of(log).read_bytes()
    foot = Foot.of(data)
    assert foot.data() == data
    assert (len(foot.boundaries), len(foot.runs), foot.flags) == (4, 1, 1)
    assert foot.runs[0][:2] == (1001, 1800)
    assert state(log, foot) is IndexState.SOUND


@pytest.mark.parametrize(
    "change",
    [
        {"magic": b"walidx\x00\x02"},
        {"header": b""},
        {"header": b"\x01\x00\x00\x00{\x00\x00\x00\x00"},
        {"header": oracle.header_frame(logs.STORE, 0, 0, 1)},
        {"header_size": 0},
        {"header_size": 8},
        {"header_size": 2**32 - 1},
        {"behind": b"\0"},
        {"behind": bytes(16)},
        {"counts": (1, 0)},
        {"counts": (-1, 0)},
        {"counts": (0, 1)},
        {"counts": (0, -1)},
        {"counts": (2**31, 0)},
        {"counts": (0, 2**31)},
        {"runs": [(1001, 1800, 0, [])]},
    ],
    ids=str,
)
def test_a_foot_of_another_form_is_none(log: Path, change: dict[str, object]) -> None:
    foot = replace(Foot.of(index_of(log).read_bytes()), **change)  # type: ignore[arg-type]
    assert state(log, foot) is IndexState.DAMAGED
    assert blocks(log, 1500) == "nothing"


@pytest.mark.parametrize("more", [0, 1])
def test_a_header_may_be_as_long_as_the_limit_and_no_longer(log: Path, more: int) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    line = foot.header[4:-4]
    line = line[:-2] + b',"x":"' + b"x" * (MAX_HEADER_BYTES - len(line) - 7 + more) + b'"}\n'
    assert len(line) == MAX_HEADER_BYTES + more
    assert state(log, replace(foot, header=logs.raw_frame(line))) is (IndexState.DAMAGED if more else IndexState.SOUND)


def test_no_foot_is_taken_from_what_is_too_short_or_whose_checksum_is_wrong(log: Path) -> None:
    data = index_of(log).read_bytes()
    foot_size = struct.unpack("<I", data[-8:-4])[0]
    for wrong in (
        b"",
        data[-7:],
        data[-8:],
        data[-7 - foot_size :],
        data[:-4] + bytes([data[-4] ^ 1]) + data[-3:],
        data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        data[:-8] + PAGE.pack(foot_size + 1, crc32c(data[-9 - foot_size : -8])),
        data[:-8] + PAGE.pack(0, 0),
        data[:-8] + PAGE.pack(2**32 - 1, 0),
    ):
        index_of(log).write_bytes(wrong)
        assert state(log) is IndexState.DAMAGED
    # Without its pages the foot is whole, and no page is where it says.
    index_of(log).write_bytes(data[-8 - foot_size :])
    assert state(log) is IndexState.DAMAGED


@pytest.mark.parametrize("more", [-1, 0, 1, 100])
def test_a_foot_is_read_whole_whether_one_reading_has_it_or_not(
    log: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    data = index_of(log).read_bytes()
    foot_size = struct.unpack("<I", data[-8:-4])[0]
    readings: list[int] = []
    real = index_module.read_at
    monkeypatch.setattr(index_module, "read_at", lambda fd, size, at: readings.append(size) or real(fd, size, at))
    monkeypatch.setattr(index_module, "_FOOT_BYTES", foot_size + 8 - more)
    with index_of(log).open("rb") as file:
        index = read_index(file.fileno(), len(data))
    assert index is not None
    assert (index.pages_end, index.size, len(readings)) == (len(data) - foot_size - 8, len(data), 1 + (more > 0))


@pytest.mark.parametrize("more", [0, 1])
def test_a_foot_has_a_greatest_size(log: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """Who may write the folder can make one of any size, which nobody is to hold."""
    foot_size = struct.unpack("<I", index_of(log).read_bytes()[-8:-4])[0]
    assert index_module._MOST_FOOT_BYTES == 8 << 20
    monkeypatch.setattr(index_module, "_MOST_FOOT_BYTES", foot_size - more)
    assert state(log) is (IndexState.DAMAGED if more else IndexState.SOUND)


@pytest.mark.parametrize(
    ("at", "point"),
    [(1, (0, 5)), (1, (10**9, 5)), (2, "before"), (3, "behind"), (3, "same bytes"), (3, "fewer bytes")],
)
def test_blocks_out_of_order_are_none(log: Path, at: int, point: tuple[int, int] | str) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    (start, plain), (end, more) = foot.boundaries[at - 1], foot.boundaries[at]
    foot.boundaries[at] = {
        "before": (start, more),
        "behind": (foot.size + 1, more),
        "same bytes": (end, plain),
        "fewer bytes": (end, plain - 1),
    }.get(point, point)  # type: ignore[arg-type,assignment]
    assert state(log, foot) is IndexState.DAMAGED
    found = [blocks(log, id) for id in range(1001, 1801)]
    assert "nothing" in found
    assert any(isinstance(one, tuple) and one for one in found)


def test_the_last_block_may_end_with_its_file(log: Path) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    foot.boundaries[3] = (foot.size, foot.boundaries[3][1])
    assert state(log, foot) is IndexState.SOUND


def test_an_id_is_looked_for_between_the_least_and_the_greatest(log: Path) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    assert [len(blocks(log, id) or ()) > 0 for id in (1000, 1001, 1800, 1801)] == [False, True, True, False]
    low, high, shift, table = foot.runs[0]
    for lowest, highest, expected in ((1002, 1799, ()), (1001, 1800, True), (1801, 1000, ())):
        state(log, replace(foot, runs=[(lowest, highest, shift, table)]))
        for id in (1001, 1800):
            assert bool(blocks(log, id)) == bool(expected)
    assert (low, high) == (1001, 1800)


def test_a_block_that_is_not_there_sends_to_all_of_the_segment(log: Path) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    whole = blocks(log, 1800)
    assert isinstance(whole, tuple)
    assert whole[-1].end == foot.boundaries[-1][0]
    assert state(log, replace(foot, boundaries=foot.boundaries[:-1])) is IndexState.SOUND
    assert blocks(log, 1800) is None
    assert blocks(log, 1001) not in (None, "nothing")
    for left in (foot.boundaries[:1], []):
        state(log, replace(foot, boundaries=left))
        assert blocks(log, 1001) is None
    assert state(log, replace(foot, flags=0)) is IndexState.SOUND
    assert blocks(log, 1001) is None
    assert blocks(log, 5) is None
    assert state(log, replace(foot, flags=3)) is IndexState.SOUND
    assert blocks(log, 5) == ()


@pytest.mark.parametrize("size", [0, -1, 1, PAGE_BYTES, PAGE_BYTES + 1])
@pytest.mark.parametrize("which", ["last", "first of two", "first of two runs"])
def test_a_page_has_a_size_that_is_possible(log: Path, which: str, size: int) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    low, high, shift, table = foot.runs[0]
    first = foot.pages[table[0][1] :]
    page = (first * (PAGE_BYTES // len(first) + 2))[: max(size, 0)]
    if which == "last":
        start = 20
        tables, pages = [[(table[0][0], start)]], bytes(start)[: start + min(size, 0)] + page
    else:
        start = 20
        pages = bytes(start) + page + first
        second = start + size
        both = [(table[0][0], start)], [(table[0][0], second)]
        tables = [both[0] + both[1]] if which == "first of two" else list(both)
    foot = replace(foot, pages=pages, runs=[(low, high, shift, one) for one in tables])
    index_of(log).write_bytes(foot.data())
    with index_of(log).open("rb") as file:
        index = read_index(file.fileno(), len(foot.data()))
        assert index is not None
        if 0 < size <= PAGE_BYTES:
            pages_read = list(index._pages(file.fileno(), 0, 0, 1))
            assert [(key, len(page)) for key, page in pages_read] == [(table[0][0], size)]
        else:
            with pytest.raises(ValueError, match="impossible size"):
                list(index._pages(file.fileno(), 0, 0, 1))
            assert state(log) is IndexState.DAMAGED


def test_an_index_fits_the_file_with_its_size_and_its_last_bytes(log: Path) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    data = (log / NAME).read_bytes()
    assert (foot.size, foot.tail) == (len(data), data[-8:])
    for change in ({"size": foot.size + 1}, {"size": foot.size - 1}, {"tail": bytes(8)}):
        assert state(log, replace(foot, **change)) is IndexState.STALE  # type: ignore[arg-type]
        assert blocks(log, 1500) == "nothing"
    for size in (0, 7, 8):  # too small to be told by its last bytes
        (log / NAME).write_bytes(data[:size])
        assert state(log, replace(foot, size=size, tail=data[:8])) is (
            IndexState.DAMAGED if size == 8 else IndexState.STALE
        )


def test_a_block_is_unpacked_up_to_the_most_that_one_may_have(tmp_path: Path) -> None:
    most = 4 * 512 * 1024
    for size in (1, most, most + 1):
        packed = zlib.compress(bytes(size), wbits=31)
        (tmp_path / "x").write_bytes(packed + b"more")
        with (tmp_path / "x").open("rb") as file:
            for told in (size - 1, size, size + 1):
                plain = read_block(file.fileno(), Block(0, len(packed), told))
                assert plain == (bytes(size) if told == size <= most else None)
    noise = os.urandom(100)
    stored = zlib.compressobj(0, wbits=31)
    packed = stored.compress(noise) + stored.flush()
    for padding, read in ((2 * most - len(packed), True), (2 * most - len(packed) + 1, False)):
        (tmp_path / "x").write_bytes(packed + bytes(padding))
        with (tmp_path / "x").open("rb") as file:
            assert read_block(file.fileno(), Block(0, len(packed) + padding, 100)) == (noise if read else None)


def test_what_finds_nothing_by_an_index_that_lies_reads_the_segment(log: Path) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    foot.boundaries[1] = (foot.boundaries[1][0] + 1, foot.boundaries[1][1])
    state(log, foot)
    for id in (1001, 1400, 1800):
        record = walcore.find(log, id)
        assert record is not None
        assert record.lsn == id
    assert folders.lsns(log) == list(range(1001, 1801))


def test_a_large_record_is_found_in_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't gathered before its checksum was seen to hold."""
    noise = random.Random(2).randbytes(650_000).hex()
    records = [logs.record(1), logs.record(2, lexical=noise), logs.record(3)]
    logs.write(tmp_path, "wal-1.v1", logs.plain(records))
    with Directory(tmp_path) as directory:
        seal_segment(directory, directory.segments()[0])
    sources: list[object] = []
    real = search.FrameReader

    def noting(*words: Any, **rest: Any) -> Any:
        sources.append(rest.get("source"))
        return real(*words, **rest)

    monkeypatch.setattr(search, "FrameReader", noting)
    for record in records:
        assert walcore.find(tmp_path, record.id) == record
    assert len(sources) == 3
    assert None not in sources


@pytest.mark.parametrize("at", [1, 2, 100])
def test_a_page_that_ends_within_a_number_is_damaged(log: Path, at: int) -> None:
    """Also where nobody looks for an id that far behind in it."""
    foot = Foot.of(index_of(log).read_bytes())
    assert state(log, replace(foot, pages=foot.pages[:-at] + b"\xff" * at)) is IndexState.DAMAGED


def test_a_page_of_more_numbers_than_it_holds_is_damaged_though_its_checksum_holds(log: Path) -> None:
    foot = Foot.of(index_of(log).read_bytes())
    start = foot.runs[-1][3][-1][1]
    page = bytearray(foot.pages[start:-4])
    sound = foot.pages[:start] + page + struct.pack("<I", crc32c(page))
    assert state(log, replace(foot, pages=sound)) is IndexState.SOUND
    page[2:4] = b"\xff\xff"  # how many numbers it holds
    damaged = foot.pages[:start] + page + struct.pack("<I", crc32c(page))
    assert state(log, replace(foot, pages=damaged)) is IndexState.DAMAGED
