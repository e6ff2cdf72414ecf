"""Opening: what is read after a clean close and after none, what is told, and what keeps a log from opening."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import replace
from pathlib import Path

import folders
import oracle
import pytest
from folders import OTHER_STORE, STORE, mint, plain, put, sealed, tree
from openings import close_cleanly, passed, reopen

import walcore
from walcore import segments, system
from walcore.errors import WalError, WalFullError
from walcore.faults import FaultKind
from walcore.segments import Directory
from walcore.state import State, read_state, write_state

# -- what is read -----------------------------------------------------------------------------------------------------


def test_an_empty_directory_is_a_new_log_and_stays_empty(tmp_path: Path) -> None:
    opening = reopen(tmp_path, STORE)
    assert (opening.store_uuid, opening.next_lsn, opening.next_number) == (STORE, 1, 1)
    assert (opening.has_segments, opening.clean, opening.to_seal) == (False, False, ())
    assert list(tmp_path.iterdir()) == []
    assert reopen(tmp_path).store_uuid != reopen(tmp_path).store_uuid


def test_after_a_clean_close_only_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1_gz=sealed(plain(1, range(1, 9)), 8), wal_9=plain(2, range(9, 5000)))
    state = close_cleanly(tmp_path, 4999)
    read = []
    real = os.pread
    monkeypatch.setattr(system.calls, "pread", lambda fd, size, at: read.append(size) or real(fd, size, at))
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        opening = reopen(tmp_path)
    assert set(calls) == {"fsync"}
    assert sum(read) <= 2 * 4096
    assert (opening.clean, opening.scanned, opening.state) == (True, (), state)
    assert (opening.next_lsn, opening.next_number, opening.has_segments) == (5000, 3, True)
    assert [s.name for s in opening.to_seal] == ["wal-9.v1"]
    assert not any((opening.cut, opening.quarantined, opening.deleted, opening.warnings))


def test_only_what_lies_behind_the_state_is_read(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    close_cleanly(tmp_path, 2, clean=False)
    put(tmp_path, wal_3=plain(3, [3, 4]))
    opening = reopen(tmp_path)
    assert (opening.scanned, opening.clean, opening.next_lsn) == (("wal-3.v1",), False, 5)
    assert reopen(tmp_path).scanned == ()


def test_a_close_is_not_clean_when_a_segment_lies_behind_it(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    close_cleanly(tmp_path, 1)
    put(tmp_path, wal_2=plain(2, [2]))
    assert not reopen(tmp_path).clean


def test_a_segment_sealed_since_the_state_was_written_fits(tmp_path: Path) -> None:
    content = plain(1, [1])
    put(tmp_path, wal_1=content)
    close_cleanly(tmp_path, 1)
    (tmp_path / "wal-1.v1").unlink()
    put(tmp_path, wal_1_gz=sealed(content, 1))
    opening = reopen(tmp_path)
    assert (opening.scanned, opening.clean) == ((), True)


@pytest.mark.parametrize("change", ["size", "header", "number", "gone"])
def test_a_state_that_does_not_fit_makes_all_be_read_but_its_lsn_counts(tmp_path: Path, change: str) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    close_cleanly(tmp_path, 70)
    other = {"size": plain(2, [2, 3]), "header": plain(2, [5]), "number": plain(3, [2])}
    if change == "gone":
        (tmp_path / "wal-2.v1").unlink()
    else:
        put(tmp_path, wal_2=other[change])
    opening = reopen(tmp_path)
    assert set(opening.scanned) == {s for s in ("wal-1.v1", "wal-2.v1") if (tmp_path / s).exists()}
    assert opening.next_lsn == 71
    assert "doesn't fit" in opening.warnings[0]
    again = reopen(tmp_path)
    assert (again.scanned, again.next_lsn, again.clean) == ((), 71, False)


def test_a_last_segment_that_went_leaves_its_number_free(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    close_cleanly(tmp_path, 2)
    (tmp_path / "wal-2.v1").unlink()
    opening = reopen(tmp_path)
    assert opening.next_number == 3
    assert [(f.kind, f.segment) for f in opening.faults] == [(FaultKind.MISSING_SEGMENT, "segment 2")]
    assert opening.faults[0].detail == passed(tmp_path).faults[0].detail


def test_missing_segments_are_told_as_runs(tmp_path: Path) -> None:
    put(tmp_path, wal_3=plain(3, [3]), wal_4=plain(5, [4]), wal_5=plain(2**31 - 1, [5]))
    assert [f.segment for f in reopen(tmp_path).faults] == [
        "segments 1 to 2",
        "segment 4",
        f"segments 6 to {2**31 - 2}",
    ]


# -- what is told -----------------------------------------------------------------------------------------------------


def test_what_is_out_of_order_is_logged_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(3, [2]) + b"torn", wal_3=b"", wal_4=plain(3, [9], OTHER_STORE))
    put(tmp_path, wal_9=plain(4, [9]))
    with caplog.at_level(logging.INFO, "walcore"):
        reopen(tmp_path)
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        put(tmp_path / "sound", wal_1=plain(1, [1]))
        reopen(tmp_path / "sound")
        reopen(tmp_path / "sound")
    assert caplog.records == []
    size = len(plain(3, [2]))
    for words in (
        f"cut off a tear of wal-2.v1, 4 bytes from byte {size} on, LSN 2 before it",
        "moved away wal-3.v1",
        "foreign_store in wal-4.v1",
        "missing_segment in segment 2",
    ):
        assert any(words in line for line in told), (words, told)
    assert len(told) == 4


# -- what keeps it from opening ---------------------------------------------------------------------------------------


def test_a_full_disk_tells_how_much_room_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]) + b"torn")
    # The segment's sound part anew, and the tear in the quarantine.
    room = len(plain(1, [1, 2])) + 2 * len(b"torn")
    before = sorted(path.name for path in tmp_path.iterdir()), tree(tmp_path)

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "write", full)
        with pytest.raises(WalFullError, match=rf"needs about {room} bytes of free space to copy wal-1\.v1") as caught:
            reopen(tmp_path)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(tmp_path) in str(caught.value)
    assert (sorted(path.name for path in tmp_path.iterdir()), tree(tmp_path)) == before
    assert reopen(tmp_path).next_lsn == 3


@pytest.mark.parametrize("name", ["lock", "quarantine", "walcore.state"])
@pytest.mark.parametrize("odd", ["link", "other"])
def test_what_has_a_name_of_ours_is_to_be_moved_away(tmp_path: Path, name: str, odd: str) -> None:
    path = put(tmp_path / "wal", wal_1=plain(1, [1]) + b"torn")
    if odd == "link":
        (path / name).symlink_to(tmp_path)
    elif name == "quarantine":
        (path / name).touch()
    else:
        (path / name).mkdir()
    with pytest.raises(OSError, match=rf"move away what has it.*{name}"):
        walcore.open(path)


def test_a_file_in_the_logs_place_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="a folder of its own") as caught:
        walcore.open(tmp_path / "file")
    assert caught.value.errno == errno.ENOTDIR


def test_the_last_lsn_is_not_exceeded(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, []))
    reopen(tmp_path)
    with Directory(tmp_path) as directory:
        state = read_state(directory)
        assert state is not None
        write_state(directory, replace(state, last_lsn=2**63 - 1))
    with pytest.raises(WalError, match="none above it"):
        reopen(tmp_path)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_sealed_segment_is_to_be_indexed_from_16_kib_on(tmp_path: Path, more: int) -> None:
    content = plain(1, [1])
    data = sealed(content, 1)
    # Zeros may pad a gzip file, and are no part of its content.
    put(tmp_path, wal_1_gz=data + bytes(16_384 + more - len(data)), wal_2=plain(2, range(2, 2000)))
    opening = reopen(tmp_path)
    assert [segment.name for segment in opening.to_index] == ["wal-1.v1.gz"] * (more >= 0)
    assert [segment.name for segment in opening.to_seal] == ["wal-2.v1"]


def test_the_last_lsn_but_one_leaves_one(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, []) + oracle.mint_frame(2**63 - 2, 1, "I", "urn:x", "", "", 0))
    assert reopen(tmp_path).next_lsn == 2**63 - 1
    put(tmp_path, wal_2=plain(2, []) + oracle.mint_frame(2**63 - 1, 1, "I", "urn:x", "", "", 0))
    with pytest.raises(WalError, match=f"LSN {2**63 - 1} was given out, there is none above it"):
        reopen(tmp_path)


@pytest.mark.parametrize("more", [-1, 0, 1, 7])
def test_what_a_crash_left_half_made_is_told_by_name_up_to_a_number(tmp_path: Path, more: int) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    number = segments._NAMES_TOLD + more
    for name in range(number):
        (tmp_path / f"{name}.walcore-tmp").touch()
    (tmp_path / "folder.walcore-tmp").mkdir()
    (tmp_path / "mine.tmp").touch()
    warnings = reopen(tmp_path).warnings
    named = [warning for warning in warnings if warning.endswith("which a crash left half made")]
    rest = [warning for warning in warnings if warning not in named]
    assert len(named) == min(number, segments._NAMES_TOLD)
    assert rest == ([f"removed {more} more of these"] if more > 0 else [])
    assert sorted(path.name for path in tmp_path.glob("*tmp")) == ["folder.walcore-tmp", "mine.tmp"]


@pytest.mark.parametrize("at", [None, 0, 2**20 - 1, 2**20, 5 * 2**19 - 1])
def test_a_tear_of_zeros_is_looked_through_to_its_end(tmp_path: Path, at: int | None) -> None:
    whole, tail = plain(1, [1, 2]), bytearray(5 * 2**19)
    if at is not None:
        tail[at] = 1
    put(tmp_path, wal_1=whole + tail)
    (cut,) = reopen(tmp_path).cut
    assert (cut.offset, cut.size) == (len(whole), len(tail))
    assert (cut.copy is None) == (at is None) == (cut.reason == "nothing but zeros")


def test_the_state_vouches_for_the_last_segment_as_it_is(tmp_path: Path) -> None:
    first, second = plain(1, [1, 2]), plain(2, [3])
    put(tmp_path, wal_1=first, wal_3=second)
    state = reopen(tmp_path).state
    header_crc = int.from_bytes(plain(2, [3])[: -len(mint(3))][-4:], "little")
    expected = State(last_lsn=3, number=2, header_crc=header_crc, size=len(second), store=STORE, clean=False)
    assert state == expected
    with Directory(tmp_path) as directory:
        assert read_state(directory) == expected
    # Of a pair that stays, since both are damaged, the plain one.
    put(tmp_path, wal_3=second[:-1] + b"~" + mint(4), wal_3_gz=sealed(second, 3)[:-5])
    state = reopen(tmp_path).state
    assert (state.number, state.size, state.last_lsn) == (2, len(second) + len(mint(4)), 4)
    # A file cut short stays too short.
    put(tmp_path, wal_3=second[:-1])
    assert reopen(tmp_path).state.size == len(second) + len(mint(4))


def test_a_log_that_begins_behind_a_purge_keeps_its_first_number(tmp_path: Path) -> None:
    put(tmp_path, wal_5=plain(4, [5]), wal_6=plain(5, [6]))
    with Directory(tmp_path) as directory:
        write_state(
            directory,
            State(last_lsn=4, number=0, header_crc=0, size=0, store=STORE, clean=False, first_number=4),
        )
    for _ in range(2):
        opening = reopen(tmp_path)
        assert (opening.faults, opening.state.first_number, opening.next_number) == ((), 4, 6)
    # What is found before it belongs to the log as well.
    put(tmp_path, wal_3=plain(3, [3]))
    assert reopen(tmp_path).state.first_number == 3
