"""A program under `clock.c`: its wall clock jumps by a day, or stands still, while a log waits.

    LD_PRELOAD=clock.so python jumps.py FOLDER FIRST STOP

Each number is a jump and a wait, in turn; whatever is wrong ends the program with an exception.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gzip
import os
import random
import sys
import threading
import time
from pathlib import Path

import walcore
from walcore.system import calls

DAY, HOUR = 86_400, 3600.0
SOON = 0.03
JUMPS = ((DAY, False), (-DAY, False), (0, True))


class HeldUp:
    """A disk that syncs when it may."""

    pwrite, ftruncate, fstat = os.pwrite, os.ftruncate, os.fstat

    def __init__(self) -> None:
        self.may = threading.Event()

    def fdatasync(self, fd: int) -> None:
        self.may.wait()
        os.fdatasync(fd)


def a_short_wait_runs_out(wal: walcore.Wal, disk: HeldUp) -> None:
    began = time.monotonic()
    for wait in (lambda: wal.await_durable(wal.last_lsn, timeout=SOON), lambda: wal.close(timeout=SOON)):
        try:
            wait()
        except walcore.WalTimeoutError:
            assert time.monotonic() - began >= SOON, "it ran out too early"
        else:
            raise AssertionError("it did not wait")
    disk.may.set()


def a_long_wait_does_not(wal: walcore.Wal, disk: HeldUp) -> None:
    threading.Timer(2 * SOON, disk.may.set).start()
    wal.await_durable(wal.last_lsn, timeout=HOUR)


def a_long_close_does_not(wal: walcore.Wal, disk: HeldUp) -> None:
    threading.Timer(2 * SOON, disk.may.set).start()
    wal.close(timeout=HOUR)


def a_short_interval_syncs(wal: walcore.Wal, disk: HeldUp) -> None:
    disk.may.set()
    while wal.durable_lsn < wal.last_lsn:
        time.sleep(SOON / 10)


def a_long_interval_does_not(wal: walcore.Wal, disk: HeldUp) -> None:
    disk.may.set()
    time.sleep(2 * SOON)
    assert wal.durable_lsn == 1
    assert wal.stats().syncs == 1


def no_room_is_told_in_time(wal: walcore.Wal, disk: HeldUp) -> None:
    began = time.monotonic()
    try:
        while True:
            wal.log_mint(2, "I", "x" * 300)
    except walcore.WalFullError:
        assert time.monotonic() - began >= SOON
    disk.may.set()


WAITS = {
    a_short_wait_runs_out: {},
    a_long_wait_does_not: {},
    a_long_close_does_not: {},
    a_short_interval_syncs: {"sync_policy": "INTERVAL", "sync_interval": SOON},
    a_long_interval_does_not: {"sync_policy": "INTERVAL", "sync_interval": HOUR},
    no_room_is_told_in_time: {"buffer_timeout": SOON},
}


def one(directory: Path, number: int) -> None:
    chance = random.Random(number)
    jump = JUMPS[number % 3]
    wait, settings = list(WAITS.items())[number // 3 % len(WAITS)]
    clock, disk = ctypes.CDLL(None), HeldUp()
    clock.clock_jump(0, 0)
    calls.core = disk
    wal = walcore.open(directory, batch_buffer_bytes=5000, **settings)
    logged = time.time()
    disk.may.set()
    wal.await_durable(wal.log_mint(1, "I", "its segment was made before the jump"))
    disk.may.clear()
    wal.log_mint(2, "I", "x")
    jumper = threading.Timer(chance.uniform(0, 2 * SOON), clock.clock_jump, jump)
    jumper.start()
    wait(wal, disk)
    jumper.join()
    assert abs(time.time() - logged - jump[0]) < HOUR, "the clock didn't jump"
    if wal.stats().state == "open":
        wal.rotate()
    last = wal.log_mint(3, "I", "after the jump") if wal.stats().state == "open" else wal.last_lsn
    wal.close()
    created = [made(path) for path in sorted(directory.glob("wal-*")) if path.suffix in (".v1", ".gz")]
    assert [record.lsn for record in walcore.read(directory, mode="STRICT")] == list(range(1, last + 1))
    assert all(abs(one - at) < HOUR for one, at in zip(created, (logged, logged + jump[0]), strict=False)), created
    with walcore.open(directory) as wal:
        assert wal.opening.clean
        assert wal.last_lsn == last


def made(segment: Path) -> int:
    """What its header says, in seconds."""
    content = segment.read_bytes()
    text = gzip.decompress(content) if segment.suffix == ".gz" else content
    return int(text.split(b'"created":', 1)[1].split(b",", 1)[0])


def main(folder: Path, first: int, stop: int) -> None:
    for number in range(first, stop):
        faulthandler.dump_traceback_later(60, exit=True)
        one(folder / str(number), number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
