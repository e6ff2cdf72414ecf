"""A disk full at any byte of a frame leaves whole ones; the log goes on once there is room, unless a sync met it."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import oracle
import pytest
from folders import lsns

import walcore
from walcore import system


class Disk:
    """What the core calls, on a disk with `room` bytes for a file."""

    room = 1 << 60
    full = errno.ENOSPC
    failing = 0
    gate: threading.Event | None = None
    """Writes wait for it, and then fail."""
    ftruncate, fstat = os.ftruncate, os.fstat

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        if self.gate:
            self.gate.wait(20)
            raise OSError(errno.EIO, "broken")
        if offset >= self.room:
            raise OSError(self.full, "no room")
        return os.pwrite(fd, data[: self.room - offset], offset)

    def fdatasync(self, fd: int, /) -> None:
        if self.failing:
            raise OSError(self.failing, "broken")
        os.fdatasync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(system.calls, "core", disk)
    return disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["disk", "quota"])
def test_a_disk_full_within_a_frame_leaves_whole_ones(tmp_path: Path, disk: Disk, number: int) -> None:
    disk.full = number
    size = len(oracle.mint_frame(2, 2, "I", "x", "", "", 0))
    for cut in range(2 * size + 1):
        directory = tmp_path / str(cut)
        with walcore.open(directory) as wal:
            wal.commit(wal.log_mint(1, "I", "x"))
            end = (directory / "wal-1.v1").stat().st_size
            disk.room = end + cut
            lsn = [wal.log_mint(id, "I", "x") for id in (2, 3, 4)][-1]
            with pytest.raises(walcore.WalFullError):
                wal.commit(lsn)
            assert (directory / "wal-1.v1").stat().st_size == end + cut // size * size
            assert lsns(directory) == list(range(1, 2 + cut // size))
            assert wal.written_lsn == 1 + cut // size
            assert wal.durable_lsn <= wal.written_lsn
            disk.room = 1 << 60
            wal.commit(lsn)
        assert lsns(directory) == [1, 2, 3, 4]


def test_a_segment_that_cannot_be_begun_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    with walcore.open(tmp_path / "wal", max_segment_bytes=1024) as wal:
        wal.commit(wal.log_mint(1, "I", "x" * 900))
        wal.log_mint(2, "I", "x" * 900)
        with monkeypatch.context() as patch:
            patch.setattr(system.calls, "link", refuse)
            with pytest.raises(walcore.WalFullError):
                wal.commit()
        assert wal.stats().segment == "wal-1.v1"
        wal.commit()
        assert wal.stats().segment == "wal-2.v1"


def test_a_log_that_failed_is_not_called_clean(tmp_path: Path, disk: Disk) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.commit(wal.log_mint(1, "I", "x"))
    wal.log_mint(2, "I", "y")
    disk.failing = errno.EIO
    with pytest.raises(walcore.WalFailedError):
        wal.commit()
    with pytest.raises(walcore.WalFailedError):
        wal.close()
    disk.failing = 0
    with walcore.open(tmp_path / "wal") as wal:
        assert not wal.opening.clean
        assert wal.opening.scanned == ("wal-1.v1",)


def fill(wal: walcore.Wal, ends: list[BaseException]) -> list[threading.Thread]:
    """Threads that log until they are stopped, once all of them wait for room."""

    def produce() -> None:
        try:
            while True:
                wal.log_mint(2, "I", "y" * 300)
        except walcore.WalError as error:
            ends.append(error)

    threads = [threading.Thread(target=produce, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    while wal.stats().buffered_bytes < 2 * (5000 - 400):
        time.sleep(0.01)
    time.sleep(0.1)
    return threads


@pytest.mark.parametrize("end", ["failure", "close"])
def test_who_waits_for_room_is_released(tmp_path: Path, disk: Disk, end: str) -> None:
    wal = walcore.open(tmp_path / "wal", batch_buffer_bytes=5000)
    wal.commit(wal.log_mint(1, "I", "x"))
    disk.gate = threading.Event()
    ends: list[BaseException] = []
    threads = fill(wal, ends)
    if end == "close":
        with pytest.raises(walcore.WalTimeoutError):
            wal.close(timeout=0.1)
    else:
        disk.gate.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "it hangs"
    kind = walcore.WalClosedError if end == "close" else walcore.WalFailedError
    assert [type(error) for error in ends] == [kind] * 6
    disk.gate.set()
    with pytest.raises(walcore.WalFailedError):
        wal.close()


def test_a_full_disk_met_by_a_sync_of_the_directory_fails_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    wal = walcore.open(tmp_path)
    lsn = wal.log_mint(1, "I", "a")
    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "fsync", no_room)
        with pytest.raises(walcore.WalFailedError) as caught:
            wal.commit(lsn)
    assert (caught.value.call, caught.value.durable_lsn) == ("fsync", 0)
    with pytest.raises(walcore.WalFailedError):
        wal.commit(lsn)
    with pytest.raises(walcore.WalFailedError):
        wal.close()
