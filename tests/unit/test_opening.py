"""Opening: what a crash, RDF4J or a bad disk may leave, and what becomes of it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import folders
import pytest
from folders import OTHER_STORE, STORE, mint, plain, put, sealed, tree

import walcore
from walcore import system
from walcore.errors import StoreMismatchError, WalError, WalFullError
from walcore.frames import Fault, FaultKind
from walcore.opening import Opening, check_store, open_directory
from walcore.purge import mark
from walcore.reader import Report, read
from walcore.segments import Directory
from walcore.state import State, read_state, write_state


def reopen(path: Path, store: str | None = None) -> Opening:
    with Directory(path) as directory:
        return open_directory(directory, store)


def close_cleanly(path: Path, last_lsn: int, *, clean: bool = True) -> State:
    """What a log leaves that was closed, or rotated, with its highest segment."""
    with Directory(path) as directory:
        last = directory.segments()[-1]
        assert last.header is not None
        state = State(
            last_lsn=last_lsn, number=last.number, header_crc=last.header.crc, size=last.size, store=STORE, clean=clean
        )
        write_state(directory, state)
    return state


def passed(path: Path) -> Report:
    """What a pass over the log reports."""
    reader = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in reader:
            pass
    return reader.report


def list_faults(path: Path) -> list[Fault]:
    return list(passed(path).faults)


def nothing_done(opening: Opening) -> bool:
    return not (opening.cut or opening.quarantined or opening.deleted or opening.warnings)


# -- the ordinary case ------------------------------------------------------------------------------------------------


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
    assert nothing_done(opening)


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
    assert opening.faults[0].detail == list_faults(tmp_path)[0].detail


def test_missing_segments_are_told_as_runs(tmp_path: Path) -> None:
    put(tmp_path, wal_3=plain(3, [3]), wal_4=plain(5, [4]), wal_5=plain(2**31 - 1, [5]))
    assert [f.segment for f in reopen(tmp_path).faults] == [
        "segments 1 to 2",
        "segment 4",
        f"segments 6 to {2**31 - 2}",
    ]


# -- tears and corruption ---------------------------------------------------------------------------------------------

TEARS: dict[str, bytes] = {
    "half a length": b"\x50\x00",
    "half a frame": mint(3)[:-7],
    "zeros": bytes(4096),
    "a lost page between frames": mint(3)[:20] + bytes(600) + mint(4),
    "garbage": os.urandom(300).replace(b"\0", b"x"),
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS.keys())
def test_a_tear_is_cut_and_kept_in_quarantine(tmp_path: Path, tear: bytes) -> None:
    whole = plain(1, [1, 2])
    put(tmp_path, wal_1=whole + tear)
    inode = (tmp_path / "wal-1.v1").stat().st_ino
    opening = reopen(tmp_path)
    lsn = 4 if mint(4) in tear else 2
    (cut,) = opening.cut
    assert (cut.segment, cut.offset, cut.size) == ("wal-1.v1", len(whole), len(tear))
    assert (cut.lsn_before, cut.lsn_highest) == (2, lsn)
    assert cut.copy == f"quarantine/wal-1.v1.{len(whole)}-{len(whole) + len(tear)}.lsn{lsn}"
    files = tree(tmp_path)
    assert (files["wal-1.v1"], files[cut.copy]) == (whole, tear)
    assert (tmp_path / "wal-1.v1").stat().st_ino != inode
    assert (opening.next_lsn, opening.faults) == (lsn + 1, ())
    assert [(s.size, s.inode) for s in opening.to_seal] == [(len(whole), (tmp_path / "wal-1.v1").stat().st_ino)]
    again = reopen(tmp_path)
    assert (again.scanned, again.next_lsn, again.to_seal) == ((), lsn + 1, opening.to_seal)


def test_lsns_in_quarantine_are_not_given_out_again_though_the_state_is_lost(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]) + bytes(16) + mint(9))
    assert reopen(tmp_path).next_lsn == 10
    (tmp_path / "walcore.state").unlink()
    assert reopen(tmp_path).next_lsn == 10
    (tmp_path / "walcore.state").unlink()
    (tmp_path / "quarantine" / "wal-7.v1").write_bytes(plain(7, [30])[:-1] + b"x" + mint(40))
    assert reopen(tmp_path).next_lsn == 41


def test_corruption_is_copied_as_it_is_and_reported(tmp_path: Path) -> None:
    content = plain(1, [1]) + mint(2)[:-1] + b"~" + mint(3) + mint(4)[:-2]
    put(tmp_path, wal_1=content)
    opening = reopen(tmp_path)
    assert tree(tmp_path)["wal-1.v1"] == content
    assert not opening.cut
    assert not opening.to_seal
    assert opening.faults[0].kind == FaultKind.CORRUPT_FRAME
    assert opening.next_lsn == 4


def test_what_the_state_vouches_for_is_never_cut(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]), wal_2=plain(2, [3]))
    close_cleanly(tmp_path, 3)
    torn = plain(1, [1, 2])[:-30]
    put(tmp_path, wal_1=torn)
    opening = reopen(tmp_path)
    assert (opening.cut, tree(tmp_path)["wal-1.v1"]) == ((), torn)


def test_whole_frames_are_copied_so_that_they_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]))
    (tmp_path / "wal-1.v1").chmod(0o604)
    inode = (tmp_path / "wal-1.v1").stat().st_ino
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        reopen(tmp_path)
    written = ["open", "write", "fdatasync", "rename", "fsync"]
    assert [c for c in calls if c != "fchmod"] == ["fsync", *written, "fsync", *written]
    status = (tmp_path / "wal-1.v1").stat()
    assert status.st_ino != inode
    assert status.st_mode & 0o777 == 0o604


def test_a_read_error_ends_the_opening_with_the_file_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]) + b"torn")
    before = tree(tmp_path)

    def fail(*_args: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "preadv", fail)
        with pytest.raises(OSError, match="Input/output"):
            reopen(tmp_path)
    assert tree(tmp_path) == before


# -- files without a header -------------------------------------------------------------------------------------------


def test_empty_files_and_torn_headers_go_to_quarantine(tmp_path: Path) -> None:
    odd = {"wal_2": b"", "wal_3": plain(3, [])[:50], "wal_4": bytes(512) + mint(7), "wal_5_gz": b""}
    odd |= {"wal_6_gz": sealed(plain(6, [9]), 9)[:15], "wal_7_gz": bytes(900)}
    put(tmp_path, wal_1=plain(1, [1]), **odd)
    opening = reopen(tmp_path)
    moved = {removed.segment: removed for removed in opening.quarantined}
    assert sorted(moved) == ["wal-2.v1", "wal-3.v1", "wal-4.v1", "wal-5.v1.gz", "wal-6.v1.gz", "wal-7.v1.gz"]
    files = tree(tmp_path)
    assert [name for name in files if name.startswith("wal-")] == ["wal-1.v1"]
    assert files[moved["wal-4.v1"].copy or ""] == odd["wal_4"]
    assert (opening.next_lsn, opening.next_number) == (8, 2)


def test_a_damaged_header_with_frames_behind_it_stays_and_is_reported(tmp_path: Path) -> None:
    content = bytearray(plain(2, [2, 3]))
    content[30] ^= 1
    put(tmp_path, wal_1=plain(1, [1]), wal_2=bytes(content), wal_3_gz=b"not gzip")
    opening = reopen(tmp_path)
    assert {f.segment: f.kind for f in opening.faults} == {
        "wal-2.v1": FaultKind.UNREADABLE_SEGMENT,
        "wal-3.v1.gz": FaultKind.UNREADABLE_SEGMENT,
    }
    assert tree(tmp_path)["wal-2.v1"] == content
    assert opening.next_lsn == 4
    assert [s.name for s in opening.to_seal] == ["wal-1.v1"]


def test_what_is_no_regular_file_is_left_alone_and_reported(tmp_path: Path) -> None:
    path = put(tmp_path / "wal", wal_1=plain(1, [1]))
    (tmp_path / "outside").write_bytes(b"")
    (path / "wal-2.v1").symlink_to(tmp_path / "outside")
    os.mkfifo(path / "wal-3.v1")
    (path / "wal-1.v1.gz").symlink_to(tmp_path / "outside")
    opening = reopen(path)
    link = "a symbolic link, not a regular file"
    details = {"wal-1.v1.gz": link, "wal-2.v1": link, "wal-3.v1": "a FIFO, not a regular file"}
    assert {f.segment: f.detail for f in opening.faults} == details
    assert opening.quarantined == ()
    assert (path / "wal-2.v1").is_symlink()
    assert (path / "wal-3.v1").is_fifo()


# -- pairs ------------------------------------------------------------------------------------------------------------


def pair(tmp_path: Path, plain_bytes: bytes, sealed_bytes: bytes) -> tuple[Opening, list[str]]:
    put(tmp_path, wal_1=plain_bytes, wal_1_gz=sealed_bytes)
    opening = reopen(tmp_path)
    assert reopen(tmp_path).next_lsn == opening.next_lsn
    return opening, [name for name in tree(tmp_path) if name.startswith("wal-")]


def test_of_a_pair_with_the_same_bytes_the_plain_file_goes(tmp_path: Path) -> None:
    content = plain(1, range(1, 100))
    opening, names = pair(tmp_path, content, sealed(content, 99))
    assert names == ["wal-1.v1.gz"]
    assert [(d.segment, d.reason) for d in opening.deleted] == [("wal-1.v1", "the same as wal-1.v1.gz")]
    assert opening.to_seal == ()


def test_a_pair_larger_than_what_is_compared_at_a_time_is_compared_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("walcore.opening.COPY_BYTES", 1000)
    content = plain(1, range(1, 100))
    assert pair(tmp_path / "same", content, sealed(content, 99))[1] == ["wal-1.v1.gz"]
    other = content[:-60] + mint(99, "urn:98")[-60:]
    assert pair(tmp_path / "other", other, sealed(content, 99))[1] == ["wal-1.v1"]


def test_of_a_sound_pair_with_other_bytes_the_plain_file_counts(tmp_path: Path) -> None:
    for number, other in enumerate(([1], [1, 2, 3], [1, 5])):
        opening, names = pair(put(tmp_path / str(number)), plain(1, [1, 2]), sealed(plain(1, other), max(other)))
        assert names == ["wal-1.v1"]
        assert [q.segment for q in opening.quarantined] == ["wal-1.v1.gz"]
        assert [s.name for s in opening.to_seal] == ["wal-1.v1"]
        assert opening.next_lsn == max(2, *other) + 1


@pytest.mark.parametrize("size", [0, 5, 15, 60, -30, -9, -1])
def test_half_a_seal_goes_to_quarantine_and_the_plain_file_is_sealed_again(tmp_path: Path, size: int) -> None:
    content = plain(1, range(1, 100))
    opening, names = pair(tmp_path, content, sealed(content, 99)[:size])
    assert names == ["wal-1.v1"]
    assert [s.name for s in opening.to_seal] == ["wal-1.v1"]
    assert [q.segment for q in opening.quarantined] == ["wal-1.v1.gz"]


def test_of_a_damaged_plain_file_and_a_sound_sealed_one_the_sealed_one_counts(tmp_path: Path) -> None:
    content = plain(1, [1, 2])
    for number, broken in enumerate((content[:-5], content[:-5] + b"x" + mint(3), content[:40], b"")):
        opening, names = pair(put(tmp_path / str(number)), broken, sealed(content, 2))
        assert names == ["wal-1.v1.gz"]
        assert [q.segment for q in opening.quarantined] == ["wal-1.v1"]
        assert opening.faults == ()


def test_a_damaged_pair_stays_and_is_reported(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    broken = content[:-60] + b"~" + content[-59:]
    put(tmp_path, wal_1=broken, wal_1_gz=sealed(broken, 3))
    opening = reopen(tmp_path)
    assert [n for n in tree(tmp_path) if n.startswith("wal-")] == ["wal-1.v1", "wal-1.v1.gz"]
    assert {f.segment for f in opening.faults} == {"wal-1.v1", "wal-1.v1.gz"}
    assert opening.to_seal == ()


def test_a_torn_plain_file_of_a_pair_that_was_vouched_for_is_corrupt(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    put(tmp_path, wal_1=content, wal_2=plain(2, [4]))
    close_cleanly(tmp_path, 4)
    put(tmp_path, wal_1=content[:-5] + bytes(5), wal_1_gz=sealed(content, 3)[:-12])
    opening = reopen(tmp_path)
    kinds = {f.segment: f.kind for f in opening.faults}
    assert kinds == {"wal-1.v1": FaultKind.CORRUPT_FRAME, "wal-1.v1.gz": FaultKind.TRUNCATED_GZIP}
    assert opening.cut == opening.quarantined == ()


def test_the_plain_file_of_a_pair_goes_after_the_sealed_one_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = plain(1, [1])
    put(tmp_path, wal_1=content, wal_1_gz=sealed(content, 1))
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        reopen(tmp_path)
    assert calls[:5] == ["fsync", "fdatasync", "fsync", "unlink", "fsync"]


# -- what was vouched for and is lost ---------------------------------------------------------------------------------


def lose(path: Path, how: str) -> None:
    content = path.read_bytes()
    kept = {"emptied": 0, "in its header": 50, "by one byte": len(content) - 1, "at a frame": len(plain(2, [3]))}
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(content[: kept[how]])


@pytest.mark.parametrize("alone", [False, True], ids=["last", "only"])
@pytest.mark.parametrize("how", ["deleted", "emptied", "in its header", "by one byte", "at a frame"])
def test_a_loss_stays_known_until_a_purge(tmp_path: Path, how: str, alone: bool) -> None:
    number = 1 if alone else 2
    put(tmp_path, wal_3=plain(number, [3, 4]), **({} if alone else {"wal_1": plain(1, [1, 2])}))
    close_cleanly(tmp_path, 4)
    segment = tmp_path / "wal-3.v1"
    lose(segment, how)
    left = segment.read_bytes() if segment.exists() else b""
    short = how in ("by one byte", "at a frame")
    kind = FaultKind.CORRUPT_FRAME if short else FaultKind.MISSING_SEGMENT
    where = "wal-3.v1" if short else f"segment {number}"
    for session in range(4):
        with walcore.open(tmp_path) as wal:
            assert [(f.kind, f.segment) for f in wal.opening.faults] == [(kind, where)]
            assert not wal.opening.cut
            assert "wal-3.v1" not in [one.name for one in wal.opening.to_seal]
            if session == 0:
                assert wal.opening.next_number == number + 1
                assert bool(wal.opening.quarantined) == (how in ("emptied", "in its header"))
            if session > 1:
                wal.commit(wal.log_mint(session, "I", "urn:x"))
                wal.rotate()
                wal.commit(wal.log_mint(session + 10, "I", "urn:x"))
        assert not short or segment.read_bytes() == left
        report = passed(tmp_path)
        assert not report.complete
        assert [(f.kind, f.segment) for f in report.faults] == [(kind, where)]
    with walcore.open(tmp_path) as wal:
        wal.purge_all_segments()
    assert passed(tmp_path).complete
    with walcore.open(tmp_path) as wal:
        assert wal.opening.faults == ()


def test_a_segment_that_is_back_is_lost_no_longer(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2, 3]))
    close_cleanly(tmp_path, 3)
    content = (tmp_path / "wal-2.v1").read_bytes()
    (tmp_path / "wal-2.v1").unlink()
    assert reopen(tmp_path).state.losses != ()
    put(tmp_path, wal_2=content)
    opening = reopen(tmp_path)
    assert (opening.faults, opening.state.losses) == ((), ())
    assert passed(tmp_path).complete


def test_a_vouched_part_is_not_cut_though_the_file_has_grown(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    put(tmp_path, wal_1=content)
    close_cleanly(tmp_path, 3)
    damaged = content[:-20] + bytes(20) + b"more"
    put(tmp_path, wal_1=damaged)
    opening = reopen(tmp_path)
    assert (opening.cut, tree(tmp_path)["wal-1.v1"]) == ((), damaged)
    assert [f.kind for f in opening.faults] == [FaultKind.CORRUPT_FRAME]
    assert not passed(tmp_path).complete


def test_a_header_lost_to_zeros_leaves_vouched_records_in_their_place(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=bytes(plain(2, range(2, 20))))
    close_cleanly(tmp_path, 19)
    content = (tmp_path / "wal-2.v1").read_bytes()
    put(tmp_path, wal_2=bytes(512) + content[512:])
    opening = reopen(tmp_path)
    assert opening.quarantined == ()
    assert [f.kind for f in opening.faults] == [FaultKind.UNREADABLE_SEGMENT, FaultKind.MISSING_SEGMENT]
    assert not passed(tmp_path).complete


def test_a_plain_file_cut_short_does_not_count_against_its_sealed_twin(tmp_path: Path) -> None:
    content = plain(1, [1, 2])
    put(tmp_path, wal_1=content)
    close_cleanly(tmp_path, 2)
    put(tmp_path, wal_1=plain(1, [1]), wal_1_gz=sealed(content, 2))
    assert [record.lsn for record in read(tmp_path)] == [1, 2]
    reopen(tmp_path)
    assert [record.lsn for record in read(tmp_path)] == [1, 2]


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


def test_a_full_disk_tells_how_much_room_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]) + b"torn")
    before = sorted(path.name for path in tmp_path.iterdir()), tree(tmp_path)

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "write", full)
        with pytest.raises(WalFullError, match=r"needs about \d+ bytes of free space to copy wal-1\.v1") as caught:
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


# -- stores -----------------------------------------------------------------------------------------------------------


def test_the_store_is_that_of_the_newest_header(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1], OTHER_STORE), wal_2=plain(2, [2]))
    assert reopen(tmp_path).store_uuid == STORE
    assert reopen(tmp_path, STORE.upper()).store_uuid == STORE


def test_beside_a_foreign_segment_the_log_stays_its_owners(tmp_path: Path) -> None:
    with walcore.open(tmp_path, store_uuid=STORE) as wal:
        wal.await_durable(wal.log_mint(1, "I", "urn:own"))
    alien = plain(5, [500], OTHER_STORE) + b"torn"
    put(tmp_path, wal_99=alien)
    for lsn, number in ((501, 6), (502, 7)):
        with walcore.open(tmp_path) as wal:
            assert wal.store_uuid == STORE
            assert wal.opening.next_number == number
            assert [f.segment for f in wal.opening.faults if f.kind == FaultKind.FOREIGN_STORE] == ["wal-99.v1"]
            assert "wal-99.v1" not in [segment.name for segment in wal.opening.to_seal]
            assert wal.log_mint(lsn, "I", "urn:new") == lsn
            wal.await_durable(lsn)
        assert tree(tmp_path)["wal-99.v1"] == alien
        with pytest.warns(walcore.WalDamageWarning):
            assert lsn in [record.lsn for record in read(tmp_path)]
        with pytest.warns(walcore.WalDamageWarning):
            assert walcore.find(tmp_path, lsn) is not None


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("with_marker", [False, True])
def test_what_is_committed_after_any_opening_is_read_back(
    tmp_path: Path, number: int, with_state: bool, with_marker: bool
) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    if with_state:
        close_cleanly(tmp_path, 2)
    if with_marker:
        with Directory(tmp_path) as directory:
            mark(directory, 3, STORE)
    put(tmp_path, wal_50=plain(number, [50], OTHER_STORE), wal_51=b"", wal_52=plain(3, [52], OTHER_STORE))
    with walcore.open(tmp_path) as wal:
        assert wal.store_uuid == (STORE if with_state or with_marker else OTHER_STORE)
        wal.await_durable(wal.log_mint(77, "I", "urn:new"))
    with pytest.warns(walcore.WalDamageWarning):
        assert 77 in [record.id for record in read(tmp_path)]


@pytest.mark.parametrize("with_state", [False, True])
def test_another_store_is_refused_before_anything_is_written(tmp_path: Path, with_state: bool) -> None:
    put(tmp_path, wal_1=plain(1, [1]) + b"torn", wal_2=b"")
    (tmp_path / "wal-3.v1.gz.walcore-tmp").write_bytes(b"half")
    if with_state:
        close_cleanly(tmp_path, 1)
        for name in ("wal-1.v1", "wal-2.v1"):
            (tmp_path / name).unlink()
    before = tree(tmp_path)
    with pytest.raises(StoreMismatchError, match=f"{STORE}, not of {OTHER_STORE}.*Leave store_uuid out"):
        reopen(tmp_path, OTHER_STORE)
    with Directory(tmp_path) as directory, pytest.raises(StoreMismatchError):
        check_store(directory, OTHER_STORE)
    assert tree(tmp_path) == before


# -- crashes of the opening itself ------------------------------------------------------------------------------------


def wreck(path: Path) -> Path:
    """A directory with all that an opening repairs."""
    one = plain(1, range(1, 4))
    put(path, wal_1=one, wal_1_gz=sealed(one, 3))
    two = plain(2, range(4, 8))
    put(path, wal_4=two, wal_4_gz=sealed(two, 7)[:-20], wal_8=plain(3, [8, 9]) + mint(10)[:-9] + bytes(16) + mint(11))
    put(path, wal_9=b"", wal_10=plain(4, [10])[:60])
    (path / "wal-11.v1.walcore-tmp").write_bytes(b"half")
    return path


def survivors(files: dict[str, bytes]) -> set[bytes]:
    return {data for name, data in files.items() if not name.endswith((".walcore-tmp", "walcore.state"))}


@pytest.mark.parametrize("error", [folders.Killed, lambda: OSError(errno.ENOSPC, "No space left on device")])
def test_an_opening_cut_off_at_any_call_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    start = wreck(tmp_path / "wal")
    whole = tmp_path / "whole"
    shutil.copytree(start, whole)
    expected = reopen(whole)
    cut_off = 0
    for nth, copy in folders.every_kill(monkeypatch, start, reopen, error):
        files = tree(copy)
        for data in (plain(1, range(1, 4)), plain(2, range(4, 8))):
            assert any(found.startswith(data) for found in files.values()) or "wal-1.v1.gz" in files
        opening = reopen(copy)
        assert (opening.next_lsn, opening.next_number) == (expected.next_lsn, expected.next_number) == (12, 4)
        assert tree(copy) == tree(whole)
        cut_off += nth > 0
    assert cut_off > 30


def test_a_single_error_at_any_call_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = wreck(tmp_path / "wal")
    whole = tmp_path / "whole"
    shutil.copytree(start, whole)
    reopen(whole)
    for nth in range(1, 200):
        copy = tmp_path / f"once-{nth}"
        shutil.copytree(start, copy)
        with folders.failing(
            monkeypatch, nth, lambda: OSError(errno.EIO, "Input/output error"), for_ever=False
        ) as calls:
            try:
                reopen(copy)
            except OSError as exc:
                assert exc.filename is not None
        if len(calls) < nth:
            break
        reopen(copy)
        assert survivors(tree(copy)) >= survivors(tree(whole))
    assert nth > 30


def test_the_last_lsn_is_not_exceeded(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, []))
    reopen(tmp_path)
    with Directory(tmp_path) as directory:
        state = read_state(directory)
        assert state is not None
        write_state(directory, replace(state, last_lsn=2**63 - 1))
    with pytest.raises(WalError, match="none above it"):
        reopen(tmp_path)
