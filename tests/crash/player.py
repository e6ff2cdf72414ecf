"""A program to be killed: it plays steps on a log and tells, on descriptor 1, what it was promised.

    python player.py DIRECTORY POLICY FIRST_ID STEP... [, DIRECTORY POLICY FIRST_ID STEP...]...

Lines, each one write: `SUB {record}` before a record is logged, `ACK lsn id` once it is promised to be on disk,
`PURGE lsn` before a purge of all up to `lsn` is asked for, `PURGED lsn` when it is done.  A record follows from its id
alone, see `fields`.  Steps are words, with a number behind a colon where it means anything: append:5 many:50 promise
threads:4 rotate seal purge flush large:1 close open sync crash.  `crash` ends the process without any farewell; the
steps behind it are another process's.  The log is open from the first step on.

The same steps leave the same bytes on disk, whenever they are played: clock and store are always the same ones.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import walcore
from walcore import index, seal

KINDS = "IBLN"
IDS_OF_A_PROCESS = 100_000
LARGE_EVERY, LARGE_LENGTH = 1000, 9000
"""The record of each thousandth id is one that neither a half nor a segment holds."""
STORE = "11111111-2222-3333-4444-555555555555"
NOON = 1_700_000_000.0
SETTINGS: dict[str, Any] = {"max_segment_bytes": 2500, "batch_buffer_bytes": 6000, "sync_interval": 0.02}


@functools.lru_cache(maxsize=4096)
def fields(id: int) -> tuple[int, str, str, str, str, int]:
    """The record of an id, in `log_mint`'s order; lengths differ, and so does what has to be escaped."""
    kind = KINDS[id % 4]
    length = LARGE_LENGTH if id % LARGE_EVERY == 0 else id * 37 % 190
    lexical = f"urn:{id}:" + "é\n\U0001f600"[: id % 4] + "x" * length
    return id, kind, lexical, "urn:t" if kind == "L" else "", "de" if kind == "L" and id % 3 else "", id * 7919 % 1000


def announcement(id: int) -> str:
    """The line that goes before the record of `id`."""
    names = ("id", "vk", "lex", "dt", "lang", "hash")
    return f"SUB {json.dumps(dict(zip(names, fields(id), strict=True)))}"


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


class Player:
    """One process's part of a story; `waiting` is what was logged and not yet promised, as (lsn, id)."""

    def __init__(self, directory: str, policy: str, next_id: int) -> None:
        self.directory, self.policy, self.next_id = directory, policy, next_id
        self.waiting: list[tuple[int, int]] = []
        self.mutex = threading.Lock()
        self.wal = self.opened()

    def opened(self) -> walcore.Wal:
        return walcore.open(self.directory, sync_policy=self.policy, store_uuid=STORE, **SETTINGS)

    def take_id(self) -> int:
        with self.mutex:
            self.next_id += 1
            id = self.next_id - 1
        say(announcement(id))
        return id

    def log(self, id: int) -> int:
        lsn = self.wal.log_mint(*fields(id))
        if self.policy == "ALWAYS":
            say(f"ACK {lsn} {id}")
        return lsn

    def append(self, count: int) -> None:
        for _ in range(count):
            id = self.take_id()
            self.waiting.append((self.log(id), id))

    def many(self, count: int) -> None:
        ids = [self.take_id() for _ in range(count)]
        first, _ = self.wal.log_mint_many([fields(id) for id in ids])
        self.waiting += list(zip(range(first, first + count), ids, strict=True))

    def wait(self, lsn: int) -> None:
        if self.policy == "INTERVAL":
            self.wal.await_durable(lsn)
        else:
            self.wal.commit(lsn)

    def promise(self, _: int) -> None:
        if self.waiting:
            self.wait(self.waiting[-1][0])
            for lsn, id in self.waiting:
                say(f"ACK {lsn} {id}")
        self.waiting = []

    def threads(self, count: int) -> None:
        def work() -> None:
            for _ in range(6):
                id = self.take_id()
                lsn = self.log(id)
                self.wait(lsn)
                say(f"ACK {lsn} {id}")

        workers = [threading.Thread(target=work) for _ in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def large(self, count: int) -> None:
        self.next_id = -(-self.next_id // LARGE_EVERY) * LARGE_EVERY
        self.append(count)

    def rotate(self, _: int) -> None:
        self.wal.rotate()

    def seal(self, _: int) -> None:
        while self.wal.stats().seal_backlog:
            time.sleep(0.001)

    def purge(self, _: int) -> None:
        last = self.wal.last_lsn
        say(f"PURGE {last}")
        self.wal.purge_all_segments()
        say(f"PURGED {last}")
        self.waiting = []

    def flush(self, _: int) -> None:
        self.wal.flush()

    def sync(self, _: int) -> None:
        """Until the interval has synced what was logged; the other policies have none."""
        while self.policy == "INTERVAL" and self.wal.durable_lsn < self.wal.last_lsn:
            time.sleep(0.002)
        self.promise(0)

    def close(self, _: int) -> None:
        self.wal.close()
        for lsn, id in self.waiting:
            say(f"ACK {lsn} {id}")
        self.waiting = []

    def open(self, _: int) -> None:
        if self.wal.is_closed:
            self.wal = self.opened()


def play(directory: str, policy: str, first_id: int, steps: list[str]) -> None:
    player = Player(directory, policy, first_id)
    for step in steps:
        name, _, number = step.partition(":")
        action: Callable[[int], None] = getattr(player, name)
        action(int(number or 1))
    # Of a call that the end cuts off nobody could tell whether it was made.
    player.seal(0)


def in_a_child(work: Callable[[], None], ends: int) -> None:
    """Do that in a process of its own; if that ends otherwise than so, this one ends too."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != ends:
        sys.exit(1)


def play_and_die(directory: str, policy: str, first_id: int, steps: list[str]) -> None:
    play(directory, policy, first_id, steps)
    os.kill(os.getpid(), signal.SIGKILL)


def tell(directory: str, policy: str, first_id: str, *steps: str) -> None:
    """Play the steps up to each `crash` in a process of its own, which ends without a farewell."""
    parts = [list(part) for crashed, part in itertools.groupby(steps, "crash".__eq__) if not crashed]
    for number, part in enumerate(parts):
        first = int(first_id) + number * IDS_OF_A_PROCESS
        in_a_child(functools.partial(play_and_die, directory, policy, first, part), ends=-signal.SIGKILL)


def main(*arguments: str) -> None:
    """Each story is told by a child of this process."""
    with tempfile.TemporaryDirectory() as folder:
        play(folder, "COMMIT", 1, ["append:1", "rotate", "close"])  # what is imported when first needed is now
    for comma, story in itertools.groupby(arguments, ",".__eq__):
        if not comma:
            in_a_child(functools.partial(tell, *story), ends=0)


if __name__ == "__main__":
    time.time = lambda: NOON
    seal.MIN_SEALED_BYTES, index._SHARE = 0, 10  # type: ignore[misc]  # small segments get indexes too
    main(*sys.argv[1:])
