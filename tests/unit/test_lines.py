"""The small files, written by somebody who knows how to make their checksum."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from folders import STORE, plain, put
from hostile import checked_line

import walcore
from walcore import lines
from walcore.headers import PurgeMarker
from walcore.segments import Directory
from walcore.state import State, read_state

STATE = asdict(State(last_lsn=1, number=1, header_crc=1, size=1, store=STORE, clean=True)) | {"version": 1}
LOSS = {"number": 1, "header_crc": 1, "size": 1, "short": True}
MARKER = b'{"nextLsn":%s,"store":"%s","headed":[%s],"headless":[%s]'


def marker(next_lsn: bytes = b"7", store: bytes = STORE.encode(), headed: bytes = b"", headless: bytes = b"") -> bytes:
    return checked_line(MARKER % (next_lsn, store, headed, headless))


@pytest.mark.parametrize(
    "change",
    [
        *(
            {name: value}
            for name in ("last_lsn", "number", "size", "header_crc")
            for value in ("1", -1, 2**64, 1.5, [])
        ),
        *({name: value} for name in ("last_lsn", "first_number") for value in (None, True, {})),
        *({"store": value} for value in (None, 7, "x" * 201, "\x1b]0;title\x07", "a\nb")),
        {"first_number": 0},
        {"clean": 1},
        {"losses": [LOSS | {"size": "1"}]},
        {"header_crc": 2**32},
        {"header_crc": -1},
        {"losses": [[1]]},
        {"losses": 7},
    ],
    ids=str,
)
def test_a_state_whose_fields_are_not_what_was_written_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    with Directory(tmp_path) as directory:
        directory.write_line("walcore.state", STATE | {"losses": [LOSS]})
        assert read_state(directory) is not None
        directory.write_line("walcore.state", STATE | change)
        assert read_state(directory) is None
    assert [record.lsn for record in walcore.read(tmp_path)] == [1]
    walcore.open(tmp_path).close()


@pytest.mark.parametrize("body", [b'{"a":', b'{"a":"\xff"', b'{"a":' + b"[" * 100_000, b"[1", b'{"a":1}'])
def test_a_line_whose_checksum_holds_and_that_is_no_json_is_none(body: bytes) -> None:
    assert lines.parse(checked_line(b'{"a":1')) == {"a": 1}
    assert lines.parse(checked_line(body)) is None


@pytest.mark.parametrize(
    "line",
    [
        checked_line(b'{"nextLsn":7,"store":"x"'),
        checked_line(b'{"nextLsn":7,"store":"x","headed":7,"headless":[]'),
        marker(next_lsn=b"0"),
        marker(next_lsn=b"-1"),
        marker(next_lsn=b"99999999999999999999"),
        marker(next_lsn=b'"7"'),
        marker(store=b"\\u001b[2J"),
        marker(store=b"\\ud800"),
        marker(store=b"\\q"),
        marker(store=b"\xff"),
        marker(store=b"x" * 201),
        marker(headed=b'["../../etc/passwd",1,1]'),
        marker(headed=b'["/etc/passwd",1,1]'),
        marker(headless=b'["lock",1,1]'),
        marker(headless=b'["wal-1.v1/../lock",1,1]'),
        marker(headed=b'["wal-1.v1","1",1]'),
        marker(headed=b'["wal-1.v1",1]'),
        marker(headed=b"[" * 100_000),
        marker(headed=b"[],"),
    ],
    ids=lambda line: str(line[:80]),
)
def test_a_marker_of_another_form_purges_nothing(tmp_path: Path, line: bytes) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    (tmp_path / "walcore.purge").write_bytes(line)
    assert [record.lsn for record in walcore.read(tmp_path)] == [1]
    with pytest.raises(walcore.CorruptionError, match=r"walcore\.purge is damaged"):
        walcore.open(tmp_path)
    assert (tmp_path / "wal-1.v1").read_bytes() == plain(1, [1])


def test_rows_are_found_where_they_are_and_nowhere_else() -> None:
    rows = {(f"wal-{number}.v1" + ".gz" * (number % 2), number, number * 7) for number in range(-300, 3_000, 3)}
    written = PurgeMarker(7, STORE, {row for row in rows if row[1] >= 0}, {("wal--5.v1", 2**64 - 1, 0)})
    fields = {"nextLsn": 7, "store": STORE, "headed": sorted(written.headed), "headless": sorted(written.headless)}
    read = lines.parse_marker(lines.checked(fields))
    assert read == written
    assert all((row in read.headed) == (row in written.headed) for row in rows)
    assert ("wal-3.v1.gz", 3, 22) not in read.headed


def test_what_would_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    with Directory(tmp_path) as directory:
        directory.write_line("walcore.state", STATE)
        with pytest.raises(OSError, match=r"File too large|are read back") as caught:
            directory.write_line("walcore.state", STATE | {"store": "x" * lines.LINE_BYTES})
        assert caught.value.filename == str(tmp_path / "walcore.state")
        assert read_state(directory) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wal-1.v1", "walcore.state"]


@pytest.mark.parametrize("next_lsn", [1, 2, 2**63 - 1, 2**63])
def test_a_marker_has_any_lsn_that_can_be_the_next(next_lsn: int) -> None:
    """1 of a log without a record, and the one behind the greatest."""
    found = lines.parse_marker(marker(next_lsn=b"%d" % next_lsn))
    assert found is not None
    assert (found.next_lsn, found.store, len(found.headed), len(found.headless)) == (next_lsn, STORE, 0, 0)
    assert lines.parse_marker(marker(next_lsn=b"%d" % (2**63 + 1))) is None


def test_a_line_may_be_as_long_as_the_limit_and_not_a_byte_longer() -> None:
    for more, parsed in ((0, True), (1, False)):
        text = "x" * (lines.LINE_BYTES - len(b'{"a":""') + more)
        fields = lines.parse(lines.checked({"a": text}))
        assert (fields == {"a": text}) == parsed
        assert parsed or fields is None


def test_a_marker_of_many_segments_is_written_and_read_back(tmp_path: Path) -> None:
    """Up to 32 MiB, over 700,000 of them."""
    assert lines.MARKER_BYTES == 32 << 20
    rows = {(f"wal-{number}.v1.gz", number, 2**32 - 1) for number in range(2**31 - 40_000, 2**31)}
    marker = PurgeMarker(7, STORE, frozenset(rows), frozenset())
    with Directory(tmp_path) as directory:
        directory.write_marker(marker)
        assert (tmp_path / "walcore.purge").stat().st_size > lines.LINE_BYTES
        found = directory.read_marker()
        assert found is not None
        assert (len(found.headed), min(rows) in found.headed, found.next_lsn) == (len(rows), True, 7)
