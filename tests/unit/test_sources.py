"""The three sources of a window give the same bytes, and tell the same of those to come; its room is given back."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import logs
import oracle
import pytest
from crc32c import crc32c

from walcore import sources
from walcore.sources import BytesSource, GzipSource, PlainSource, Source, Window

JSON = [bytes([65 + number]) * size for number, size in enumerate((1, 7, 300_000, 40))]
CONTENT = b"".join(b"size" + json + crc32c(json).to_bytes(4, "little") for json in JSON)
PLACES = [CONTENT.index(json) for json in JSON]

Make = Callable[[bytes], Source]


@pytest.fixture(params=["plain", "bytes", "zlib", "isal", "members"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes a source of some bytes."""
    if request.param == "isal":
        pytest.importorskip("isal")
    opened: list[Any] = []

    def source(content: bytes) -> Source:
        if request.param == "bytes":
            return BytesSource(content)
        data = content
        if request.param == "members":
            data = b"".join(gzip.compress(content[at : at + 100_000]) for at in range(0, len(content), 100_000))
        elif request.param != "plain":
            data = gzip.compress(content)
        (tmp_path / "file").write_bytes(data + (b"behind" if request.param == "plain" else b""))
        opened.append((tmp_path / "file").open("rb"))
        fd = opened[-1].fileno()
        if request.param == "plain":
            return PlainSource(fd, len(data), tmp_path / "file")
        return GzipSource(fd, len(data), tmp_path / "file", zlib if request.param == "zlib" else None)

    yield source
    for file in opened:
        file.close()


@pytest.mark.parametrize("size", [1, 1000, 70_000, 1 << 20])
def test_the_bytes_come_in_order_whatever_the_room(make: Make, size: int) -> None:
    content = CONTENT[:5000] if size == 1 else CONTENT
    source, given, room = make(content), b"", memoryview(bytearray(size))
    while got := source.readinto(room):
        given += room[:got]
        left = source.remaining()
        assert left in (None, len(content) - len(given))
    assert given == content
    assert source.damage is None
    assert source.readinto(room) == 0


def test_what_holds_is_told_from_what_does_not_and_from_what_is_not_there(make: Make) -> None:
    source = make(CONTENT)
    for place, json in zip(PLACES[:-1], JSON, strict=False):
        assert source.holds(place, len(json)) is True
        assert source.holds(place, len(json)) is True
    last, size = PLACES[-1], len(JSON[-1])
    assert source.holds(last, size - 1) is False
    assert source.holds(last, size + 1) is None
    assert source.remaining() == len(CONTENT)
    assert source.holds(last, size) is True
    source = make(CONTENT)
    assert source.holds(last, size + 1) is None
    assert source.holds(last, size) is True
    assert (source.readinto(memoryview(bytearray(10))), source.remaining()) == (10, len(CONTENT) - 10)


def test_behind_the_end_that_is_known_nothing_is_unpacked_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(CONTENT)
    last, size = PLACES[-1], len(JSON[-1])
    assert source.holds(last, size + 1) is None
    monkeypatch.setattr(GzipSource, "digest", lambda *_: pytest.fail("it was unpacked"))
    for more in (1, 2, 1_000_000):
        assert source.holds(last, size + more) is None


@pytest.mark.parametrize("at", [0, 150_000, 299_999, 300_000, 300_003])
def test_one_byte_that_differs_is_enough(make: Make, at: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[PLACES[2] + at] ^= 1
    source = make(bytes(damaged))
    expected = [True, True, False, True]
    assert [source.holds(place, len(json)) for place, json in zip(PLACES, JSON, strict=True)] == expected


def test_looking_ahead_moves_nothing(make: Make) -> None:
    source = make(CONTENT)
    window = Window(source, 1000)
    assert window.fill(1)
    assert source.holds(PLACES[2], len(JSON[2])) is True
    seen = b""
    while window.fill(1):
        assert window.offset == len(seen)
        seen += bytes(window.data[window.start : window.stop])
        window.take(len(window))
    assert seen == CONTENT


def test_a_window_has_what_it_is_asked_for_or_says_that_it_ends(make: Make) -> None:
    window = Window(make(CONTENT), 64)
    for size in (1, 63, 64, 65, 1000, len(CONTENT)):
        assert window.fill(size)
        assert len(window) >= size
        assert bytes(window.data[window.start : window.start + size]) == CONTENT[:size]
    assert not window.fill(len(CONTENT) + 1)
    window.take(len(CONTENT) - 5)
    assert (len(window), window.offset) == (5, len(CONTENT) - 5)
    assert window.fill(5)
    assert not window.fill(6)


def test_a_plain_file_that_was_cut_since_ends_where_it_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    with (tmp_path / "file").open("r+b") as file:
        source = PlainSource(file.fileno(), len(CONTENT), tmp_path / "file")
        file.truncate(PLACES[2])
        assert source.holds(PLACES[2], len(JSON[2])) is None
        assert source.holds(PLACES[1], len(JSON[1])) is True
        room = memoryview(bytearray(len(CONTENT)))
        assert (source.readinto(room), source.readinto(room), source.remaining()) == (PLACES[2], 0, 0)


@pytest.mark.parametrize(
    ("data", "kind", "detail"),
    [
        (b"", "truncated_gzip", "the file ends after 0 bytes"),
        (b"\x1f", "truncated_gzip", "the file ends after 1 bytes"),
        (b"\x1f\x8b", "truncated_gzip", "the file ends inside its gzip stream, after 2 bytes"),
        (b"\x1e", "corrupt_frame", "no gzip stream"),
        (b"plain text", "corrupt_frame", "no gzip stream"),
        (bytes(100), "corrupt_frame", "no gzip stream"),
        (gzip.compress(b"x", mtime=0) + b"y", "corrupt_frame", "bytes behind the gzip stream"),
        (gzip.compress(b"x", mtime=0) + bytes(300_000) + b"y", "corrupt_frame", "bytes behind the gzip stream"),
        (gzip.compress(b"x", mtime=0) + bytes(300_000) + b"\x1f", "truncated_gzip", "the file ends after 300022 bytes"),
    ],
    ids=[
        "empty",
        "1 byte",
        "2 bytes",
        "no magic",
        "text",
        "zeros",
        "a byte behind",
        "a byte far behind",
        "half a second",
    ],
)
def test_what_is_wrong_with_a_gzip_file_is_told(tmp_path: Path, data: bytes, kind: str, detail: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        source = GzipSource(file.fileno(), len(data), tmp_path / "file")
        room = memoryview(bytearray(100))
        given = source.readinto(room)
        assert bytes(room[:given]) == (b"x" if data.startswith(gzip.compress(b"x")[:4]) and len(data) > 20 else b"")
        assert source.readinto(room) == 0
    assert source.damage == (kind, detail)


def test_zlib_stands_in_where_isal_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    assert sources.codec() is zlib


def test_of_a_stream_that_is_cut_off_anywhere_every_byte_is_had_that_zlib_has(tmp_path: Path) -> None:
    content = logs.plain([logs.record(lsn, lexical="é😀" + "x" * (lsn % 9 * 12)) for lsn in range(1, 15)])
    deflate, data = sources.codec().compressobj(2, zlib.DEFLATED, 31), b""
    for frame in oracle.frames(content):  # cut in front of a place where decompressing can begin, isal keeps bytes back
        data += deflate.compress(frame) + deflate.flush(zlib.Z_FULL_FLUSH)
    data += deflate.flush()
    path = tmp_path / "wal-1.v1.gz"
    path.write_bytes(data)
    room, fd = memoryview(bytearray(2 * len(content))), os.open(path, os.O_RDONLY)
    for size in range(len(data)):
        source, got = sources.GzipSource(fd, size, path), 0
        while more := source.readinto(room[got:]):
            got += more
        assert room[:got] == zlib.decompressobj(31).decompress(data[:size])
        assert source.damage is not None
        assert source.damage[0] == "truncated_gzip"
    os.close(fd)


def test_the_room_of_a_large_frame_is_given_back(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(6 * sources.LARGE))
    with (tmp_path / "x").open("rb") as file:
        window = sources.Window(sources.PlainSource(file.fileno(), 6 * sources.LARGE, tmp_path / "x"))
        assert window.fill(3 * sources.LARGE)
        assert len(window.data) >= 3 * sources.LARGE
        window.take(len(window) - 10)
        assert window.fill(20)
        assert len(window.data) == sources.CHUNK
        assert window.offset == window.source.offset - len(window)
