"""A sync that fails on a real ext4 makes what it was for look clean: no sync after it may be believed.

The file system lies in a sparse file on a tmpfs that is too small for it: writing works, since it goes to memory, and
the sync finds no room behind the disk.  A second sync says that all is well.
"""

from __future__ import annotations

import os
from pathlib import Path

import mounts
import pytest
import witness
from tally import LONG

import walcore
from walcore import system

ROUNDS = 100 if LONG else 4
RECORD = "x" * 3000


class Counting:
    """The core's own calls, whose syncs are noted."""

    pwrite, ftruncate, fstat = os.pwrite, os.ftruncate, os.fstat

    def __init__(self) -> None:
        self.syncs: list[bool] = []

    def fdatasync(self, fd: int, /) -> None:
        self.syncs.append(False)
        os.fdatasync(fd)
        self.syncs[-1] = True


def until_a_sync_fails(wal: walcore.Wal, step: int) -> tuple[int, walcore.WalFailedError]:
    """Log and commit `step` records at a time; the last LSN that was promised, and what ended it."""
    durable = 0
    for begin in range(1, 1 << 20, step):
        try:
            wal.log_mint_many([(id, "I", RECORD) for id in range(begin, begin + step)])
            durable = wal.commit()
        except walcore.WalFailedError as error:
            return durable, error
    raise AssertionError


def syncs_well(wal: walcore.Wal) -> bool:
    """Whether the kernel calls another sync of the log's own descriptor a success."""
    current = wal._live.tail.current
    if current is None:
        return False
    try:
        os.fdatasync(current.fd)
    except OSError:
        return False
    return True


def test_a_kernel_that_forgets_a_failed_sync_costs_no_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forgot = 0
    for number in range(ROUNDS):
        counted = Counting()
        monkeypatch.setattr(system.calls, "core", counted)
        place = tmp_path / str(number)
        place.mkdir()
        with (
            mounts.tmpfs(place, f"{3000 + 37 * number}k") as small,
            mounts.image(place / "disk", "ext4", 64 << 20) as disk,
        ):
            directory = disk.place / "log"
            wal = walcore.open(directory)
            durable, error = until_a_sync_fails(wal, 20 + number % 50)
            assert error.call in ("fdatasync", "fsync", "write", "begin"), str(error)
            assert error.__cause__ is not None
            made = len(counted.syncs)
            assert durable <= error.durable_lsn == wal.durable_lsn
            for action in (wal.commit, wal.rotate, lambda wal=wal: wal.await_durable(wal.last_lsn)):
                with pytest.raises(walcore.WalFailedError):
                    action()
            forgot += syncs_well(wal)
            with pytest.raises(walcore.WalFailedError):
                wal.close()
            assert len(counted.syncs) == made, "a sync was tried again"
            mounts.run("mount", "-o", "remount,size=200m", small.place)
            disk.again()
            monkeypatch.setattr(system.calls, "core", None)
            assert set(range(1, error.durable_lsn + 1)) <= set(witness.read(directory))
            with walcore.open(directory) as wal:
                assert wal.log_mint(1, "I", "x") > error.durable_lsn
            assert set(range(1, error.durable_lsn + 1)) <= set(witness.read(directory))
    print(f"{ROUNDS} failed syncs of a real ext4, {forgot} called OK when synced again: 0 promises lost, 0 tried again")
