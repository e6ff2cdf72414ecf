"""What a header may say, to the last number that it may, and how much of a file is looked at for it."""

from __future__ import annotations

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any

import oracle
import pytest
from folders import STORE, plain, put

from walcore import system
from walcore.headers import MAX_HEADER_BYTES, parse_header
from walcore.segments import list_segments

FIELDS = {"t": "V", "store": STORE, "created": 0, "segment": 1, "firstId": 1}


def parse(**changes: Any) -> Any:
    return parse_header(json.dumps(FIELDS | changes).encode(), 5)


@pytest.mark.parametrize(("key", "least", "greatest"), [("segment", 1, 2**31 - 1), ("firstId", -(2**31), 2**31 - 1)])
def test_numbers_go_as_far_as_the_format_has_them(key: str, least: int, greatest: int) -> None:
    assert parse(**{key: least}) is not None
    assert parse(**{key: greatest}) is not None
    assert parse(**{key: least - 1}) is None
    assert parse(**{key: greatest + 1}) is None


@pytest.mark.parametrize(
    "changes",
    [
        *({key: value} for key in ("created", "segment", "firstId") for value in (True, "1", 1.5, None)),
        *({"store": value} for value in (7, None, "x" * 201, "a\nb")),
        {"t": "M"},
        {"t": None},
    ],
    ids=str,
)
def test_what_is_no_header_is_none(changes: dict[str, Any]) -> None:
    assert parse(**changes) is None


def test_a_header_is_what_its_frame_says() -> None:
    text = json.dumps(FIELDS | {"store": "x" * 200, "created": 7, "segment": 3, "firstId": -4}).encode()
    header = parse_header(text, 5)
    assert header is not None
    assert (header.store, header.created, header.number, header.first_id) == ("x" * 200, 7, 3, -4)
    assert (header.crc, header.size) == (5, len(text) + 8)


@pytest.mark.parametrize("text", [b"[1]", b"7", b"{", b"", b"[" * 5000])
def test_json_of_another_form_is_no_header(text: bytes) -> None:
    assert parse_header(text, 0) is None


@pytest.mark.parametrize("sealed", [False, True])
def test_a_header_may_be_as_long_as_the_limit_and_not_a_byte_longer(tmp_path: Path, sealed: bool) -> None:
    text = json.dumps(FIELDS, separators=(",", ":"))
    for number, size in enumerate((MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1), 1):
        frame = oracle.frame(text + " " * (size - len(text) - 1))  # and the line's end
        packer = zlib.compressobj(wbits=31)
        content = packer.compress(frame) + packer.flush() if sealed else frame
        (tmp_path / f"wal-{number}.v1{'.gz' * sealed}").write_bytes(content)
    short, long = sorted(list_segments(tmp_path), key=lambda segment: segment.name)
    assert short.header is not None
    assert (long.header, long.problem) == (None, "torn header")


def test_a_name_too_long_or_of_no_file_is_irregular_and_a_torn_header_is_not(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [])[:-1], wal_2=plain(1, []))
    (tmp_path / "wal-3.v1").mkdir()
    found = {segment.name: (segment.irregular, segment.number) for segment in list_segments(tmp_path)}
    assert found == {"wal-1.v1": (False, 0), "wal-2.v1": (False, 1), "wal-3.v1": (True, 0)}


def test_a_segment_whose_gzip_is_damaged_behind_the_header_shows_its_header(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    content = packer.compress(plain(1, [])) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100
    put(tmp_path, wal_1_gz=content)
    (found,) = list_segments(tmp_path)
    assert found.header is not None
    assert found.number == 1


def test_a_read_error_while_a_header_is_read_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    put(tmp_path, wal_1=plain(1, []))
    monkeypatch.setattr(system.calls, "pread", fail)
    with pytest.raises(OSError, match=r"Input/output error.*wal-1\.v1"):
        list_segments(tmp_path)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("size", [500, 1015, 1016, 1017, 1020, 1021, 1024, 2000, 5000, 20_000])
def test_a_header_is_read_whole_however_long_it_is(tmp_path: Path, size: int, sealed: bool) -> None:
    """1,024 bytes are read at first."""
    text = json.dumps(FIELDS, separators=(",", ":"))
    frame = oracle.frame(text + " " * (size - len(text) - 1))
    for cut in (0, 1, 4, 5):
        packer = zlib.compressobj(wbits=31)
        content = frame[: len(frame) - cut]
        content = packer.compress(content) + packer.flush() if sealed else content
        (tmp_path / f"wal-1.v1{'.gz' * sealed}").write_bytes(content)
        (found,) = list_segments(tmp_path)
        assert (found.header is None) == bool(cut)
        assert found.header is None or found.header.size == len(frame)
