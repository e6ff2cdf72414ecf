"""A call that fails while a log is read or opened says so; it says nothing of what the log holds."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import logs
import pytest

import walcore
from walcore import lock, segments, system


def failing(monkeypatch: pytest.MonkeyPatch, call: str, number: int, when: Callable[..., bool], times: int = 1) -> None:
    """Let the first `times` calls of which `when` is true end in that errno."""
    real, left = getattr(system.calls, call), [times]

    def fails(*args: Any, **named: Any) -> Any:
        if left[0] and when(*args):
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return real(*args, **named)

    monkeypatch.setattr(system.calls, call, fails)


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("wal-")}


@pytest.mark.parametrize("seal", [False, True])
@pytest.mark.parametrize("mode", ["STRICT", "STOP", "SEGMENT", "SALVAGE"])
def test_a_failed_reading_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, seal: bool
) -> None:
    logs.log(tmp_path / "wal", [logs.record(lsn) for lsn in range(1, 9)], seal=seal)
    failing(monkeypatch, "preadv", errno.EIO, lambda *_: True)
    with pytest.raises(OSError, match=r"wal-1\.v1") as caught:
        list(walcore.read(tmp_path / "wal", mode=mode))
    assert (caught.value.errno, caught.value.call) == (errno.EIO, "read")  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_a_lock_that_cannot_be_looked_at_does_not_stand_for_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Else the frame that the writer is at work on would be called torn."""
    logs.log(tmp_path / "wal", [logs.record(1)])
    with (tmp_path / "wal" / "wal-1.v1").open("ab") as file:
        file.write(b"\x55\0\0\0unfinished")
    held = lock.DirectoryLock(tmp_path / "wal")
    held.acquire()
    assert [record.lsn for record in walcore.read(tmp_path / "wal", mode="STRICT")] == [1]
    failing(monkeypatch, "open", number, lambda path, *_: str(path).endswith("lock"))
    with pytest.raises(OSError, match="lock") as caught:
        list(walcore.read(tmp_path / "wal", mode="STRICT"))
    assert caught.value.errno == number
    held.release()


def test_a_segment_that_may_not_be_read_keeps_the_log_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "a")
    failing(monkeypatch, "open", errno.EACCES, lambda path, *_: str(path).endswith("wal-1.v1"), times=1 << 40)
    with pytest.raises(PermissionError, match=r"wal-1\.v1"):
        walcore.open(tmp_path)
    monkeypatch.undo()
    walcore.open(tmp_path).close()


def test_opening_takes_a_segment_that_it_may_not_read_for_no_torn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave to read can come and go: what was quarantined for it would be lost to readers."""
    logs.log(tmp_path / "wal", [logs.record(lsn) for lsn in range(1, 9)])
    with (tmp_path / "wal" / "wal-1.v1").open("ab") as file:
        file.write(b"\x55\0\0\0torn")
    before = bytes_in(tmp_path / "wal")
    failing(monkeypatch, "open", errno.EACCES, lambda path, *_: path == "wal-1.v1")
    with pytest.raises(PermissionError, match=r"wal-1\.v1"):
        walcore.open(tmp_path / "wal")
    assert bytes_in(tmp_path / "wal") == before
    walcore.open(tmp_path / "wal").close()
    assert [record.lsn for record in walcore.read(tmp_path / "wal")] == list(range(1, 9))


def test_a_purge_is_not_done_while_a_segment_of_it_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passed over, it would be back from the dead."""
    logs.log(tmp_path / "wal", [logs.record(1)], [logs.record(2)])
    with segments.Directory(tmp_path / "wal") as directory:
        headed = frozenset((one.name, one.number, one.header.crc) for one in directory.segments() if one.header)
        directory.write_marker(segments.PurgeMarker(3, logs.STORE, headed, frozenset()))
    failing(monkeypatch, "open", errno.EACCES, lambda path, *_: path == "wal-2.v1", times=3)
    with pytest.raises(PermissionError, match=r"wal-2\.v1"):
        walcore.open(tmp_path / "wal")
    monkeypatch.undo()
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.opening.purge_finished
        assert wal.log_mint(1, "I", "x") == 3
    assert [record.lsn for record in walcore.read(tmp_path / "wal")] == [3]


@pytest.mark.parametrize("nth", range(1, 12))
def test_whichever_look_at_a_file_fails_while_segments_change_no_number_is_given_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Of two segments of one number a reader takes one: what the other promised would be lost."""
    with walcore.open(tmp_path / "wal", max_segment_bytes=1024) as wal:
        wal.commit(wal.log_mint(1, "I", "x" * 700))
        looks = itertools.count(1)
        failing(monkeypatch, "fstat", errno.ENOSPC, lambda *_: next(looks) == nth)
        for id in range(2, 7):
            wal.log_mint(id, "I", "y" * 700)
            with suppress(walcore.WalFullError):
                wal.commit()
        monkeypatch.undo()
        wal.commit()
    assert [record.lsn for record in walcore.read(tmp_path / "wal", mode="STRICT")] == list(range(1, 7))


def test_a_log_closes_although_its_file_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is on disk; what can't be said of it saves the next opening some work, no more."""
    wal = walcore.open(tmp_path / "wal")
    wal.commit(wal.log_mint(1, "I", "x"))
    failing(monkeypatch, "fstat", errno.EIO, lambda *_: True, times=1 << 40)
    wal.close()
    assert wal.is_closed
    monkeypatch.undo()
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.opening.scanned
    assert [record.lsn for record in walcore.read(tmp_path / "wal", mode="STRICT")] == [1]
