"""A program that opens, uses and closes small logs again and again, and tells what that left behind.

    python rounds.py FOLDER

Each line of its input is a range of rounds, `first stop`; it plays them and answers with a line of JSON: bytes, blocks,
descriptors and threads as they then are.  What a round does follows from its number alone.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import random
import resource
import shutil
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import walcore

POLICIES = ("COMMIT", "ALWAYS", "INTERVAL")
ROUNDS_OF_A_LOG = 40
SMALL: dict[str, Any] = {"max_segment_bytes": 2000, "batch_buffer_bytes": 5000, "sync_interval": 0.01}


def play(number: int, directory: Path) -> None:
    """One log, opened, used in a way of its own, and closed."""
    chance = random.Random(number)
    policy = POLICIES[number % 3]
    heard = [].append if number % 5 == 0 else None
    wal = walcore.open(directory, sync_policy=policy, on_force=heard, **SMALL)
    for id in range(chance.randrange(4)):
        wal.log_mint(id, "I", "x" * chance.choice((3, 90, 900)))
    lsn = wal.log_mint(7, "L", "é" * 20, language="de")
    chance.choices(USES, weights=(40, 1, 1, 1, 1))[0](wal, lsn)
    wal.close()
    if chance.random() < 0.1:
        walcore.find(directory, 7)


def use_a_little(wal: walcore.Wal, lsn: int) -> None:
    wal.commit(lsn)


def use_threads(wal: walcore.Wal, lsn: int) -> None:
    threads = [threading.Thread(target=lambda: wal.commit(wal.log_mint(1, "I", "y"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    with suppress(walcore.WalTimeoutError):
        wal.await_durable(lsn, timeout=0)
    for thread in threads:
        thread.join()


def use_wrongly(wal: walcore.Wal, lsn: int) -> None:
    """Every refusal makes an exception, and some of them a note."""
    for wrong in (
        lambda: wal.log_mint(1, "X", "no kind"),
        lambda: wal.log_mint_many([1, 2], "I", ["one"]),
        lambda: wal.log_mint_many([(1, "I", "a"), (1, "I", 2)]),
        lambda: wal.await_durable(lsn + 1),
        lambda: walcore.open(wal.path),
    ):
        with suppress(ValueError, TypeError, walcore.WalLockedError):
            wrong()
            raise AssertionError


def use_segments(wal: walcore.Wal, lsn: int) -> None:
    wal.rotate()
    wal.log_mint_many([(id, "I", "z" * 300) for id in range(30)])
    wal.flush()
    assert [record.lsn for record in walcore.read(wal.path)][-1] == wal.last_lsn
    assert 29 in walcore.recover(wal.path).records
    if lsn % 2:
        wal.purge_all_segments()
        assert list(walcore.read(wal.path)) == []


def drop(wal: walcore.Wal, lsn: int) -> None:
    """A second log, beside the first, that nobody closes."""
    other = walcore.open(wal.path / "other")
    live = other._live
    other.log_mint(1, "I", "x")
    del other
    gc.collect()
    live.close()


USES = (use_a_little, use_threads, use_wrongly, use_segments, drop)


class MallInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    NAMES = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]


def malloced() -> int:
    """Bytes that the C core and the C library's other callers have not freed; what was freed goes to the system."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return 0
    library.malloc_trim(0)
    library.mallinfo2.restype = MallInfo
    info = library.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def count(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def left_behind() -> dict[str, int]:
    """What the process holds, once the threads that are at their end have ended."""
    deadline = time.monotonic() + 5
    while count("/proc/self/task") > 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    gc.collect()
    in_use = malloced()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": pages * resource.getpagesize(),
        "malloced": in_use,
        "blocks": sys.getallocatedblocks(),
        "descriptors": count("/proc/self/fd"),
        "threads": count("/proc/self/task"),
    }


def main(folder: Path) -> None:
    logging.disable()
    warnings.simplefilter("ignore", ResourceWarning)
    for line in sys.stdin:
        first, stop = map(int, line.split())
        for number in range(first, stop):
            if number % ROUNDS_OF_A_LOG == 0 or number == first:
                shutil.rmtree(folder / "wal", ignore_errors=True)
            play(number, folder / "wal")
        print(json.dumps(left_behind()), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
