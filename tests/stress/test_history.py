"""A crowd of threads at once, on a log that is purged, rotated, read and closed meanwhile: one order explains it."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from history import CLOSE, DURABLE, GIVEN, LOG, PURGE, READ, WRITTEN, History, Notes
from tally import LONG, Tally
from together import together

import walcore
from walcore.system import calls

PRODUCERS = 64
SECONDS = 60 if LONG else 1.5
MOST_CALLS = 12_000
"""Of one thread: notes take memory."""


class SlowDisk:
    """System calls that take their time, by chance, and write less than they were asked to."""

    ftruncate, fstat = os.ftruncate, os.fstat

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        size = len(data) if self._chance.random() < 0.8 else self._chance.randrange(1, len(data) + 1)
        return os.pwrite(fd, data[:size], offset)

    def fdatasync(self, fd: int) -> None:
        time.sleep(self._chance.choice((0, 0, 0.0002, 0.005)))
        os.fdatasync(fd)


class Crowd:
    """What the threads do, each by a chance of its own."""

    def __init__(self, wal: walcore.Wal, seed: int, seconds: float) -> None:
        self.wal, self.seed = wal, seed
        self.history = History()
        self.over = time.monotonic() + seconds
        self.ids = iter(range(1, 1 << 31))
        self.mutex = threading.Lock()
        self.idents: list[int] = []

    def take_ids(self, count: int) -> list[int]:
        with self.mutex:
            return [next(self.ids) for _ in range(count)]

    def works(self) -> Iterator[Callable[[], None]]:
        everybody = [self.produce] * PRODUCERS + [self.rotate, self.purge, self.close, self.read, self.watch, self.poke]
        for number, work in enumerate(everybody):
            yield lambda number=number, work=work: work(random.Random(f"{self.seed} {number}"), self.history.notes())  # type: ignore[misc]

    def produce(self, chance: random.Random, notes: Notes) -> None:
        me = threading.get_ident()
        with self.mutex:
            self.idents.append(me)
        try:
            for _ in range(MOST_CALLS):
                lsn = self.log_many(chance, notes) if chance.random() < 0.1 else self.log(chance, notes)
                if lsn:
                    self.wait(chance, notes, lsn)
        except walcore.WalClosedError:
            assert self.wal.stats().state in ("closing", "closed")
        finally:
            with self.mutex:
                self.idents.remove(me)

    def log(self, chance: random.Random, notes: Notes) -> int:
        ids, length = self.take_ids(1), chance.choice((3, 5, 30, 300)) if chance.random() < 0.97 else 9000
        begin = notes.tick()
        lsn = self.wal.log_mint(ids[0], "I", "x" * length)
        self.logged(notes, begin, lsn, lsn, ids)
        return lsn

    def log_many(self, chance: random.Random, notes: Notes) -> int:
        ids = self.take_ids(chance.choice((0, 1, 2, 20, 200)))
        begin = notes.tick()
        try:
            first, last = self.wal.log_mint_many(ids, "I", ["y" * (id % 90) for id in ids])
        except walcore.WalClosedError as error:
            if error.last_lsn:
                notes.add(LOG, begin, error.first_lsn, error.last_lsn, ids=ids)
            raise
        if not ids:
            notes.add(GIVEN, begin, last, exact=True)
            return 0
        self.logged(notes, begin, first, last, ids)
        return last

    def logged(self, notes: Notes, begin: int, first: int, last: int, ids: list[int]) -> None:
        notes.add(LOG, begin, first, last, ids=ids, exact=True)
        if self.wal.config.sync_policy == "ALWAYS":
            notes.add(DURABLE, begin, last)

    def wait(self, chance: random.Random, notes: Notes, lsn: int) -> None:
        begin = notes.tick()
        match chance.randrange(8):
            case 0:
                self.wal.await_durable(lsn)
                notes.add(DURABLE, begin, lsn)
            case 1:
                try:
                    self.wal.await_durable(lsn, timeout=chance.choice((0, 0.0001, 0.003)))
                except walcore.WalTimeoutError as error:
                    assert error.durable_lsn < lsn
                    notes.add(DURABLE, begin, error.durable_lsn, exact=True)
                else:
                    notes.add(DURABLE, begin, lsn)
            case 2:
                self.wal.flush()
                notes.add(WRITTEN, begin, lsn)
            case 3 | 4:
                reached = self.wal.commit(chance.choice((lsn, None)))
                notes.add(DURABLE, begin, reached, exact=True)
                assert reached >= lsn or self.wal.config.sync_policy == "INTERVAL"

    def again_and_again(self, chance: random.Random, longest: float, work: Callable[[], None]) -> None:
        """Until the log is closed."""
        with suppress(walcore.WalClosedError):
            while not self.wal.is_closed:
                time.sleep(chance.uniform(0, longest))
                work()

    def rotate(self, chance: random.Random, _: Notes) -> None:
        self.again_and_again(chance, 0.02, self.wal.rotate)

    def purge(self, chance: random.Random, notes: Notes) -> None:
        def work() -> None:
            begin = notes.tick()
            self.wal.purge_all_segments()
            notes.add(PURGE, begin)

        self.again_and_again(chance, 0.6, work)

    def read(self, chance: random.Random, notes: Notes) -> None:
        def work() -> None:
            begin = notes.tick()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", walcore.WalDamageWarning)
                reader = walcore.read(self.wal.path)
                rows = [(record.lsn, record.id) for record in reader]
            assert len(dict(rows)) == len(rows), "an LSN was read twice"
            notes.add(READ, begin, rows=dict(rows), exact=reader.report.complete)

        self.again_and_again(chance, 0.1, work)

    def watch(self, chance: random.Random, notes: Notes) -> None:
        def work() -> None:
            for what in chance.choices((GIVEN, WRITTEN, DURABLE), k=50):
                begin = notes.tick()
                notes.add(what, begin, getattr(self.wal, what), exact=True)

        self.again_and_again(chance, 0.003, work)

    def poke(self, chance: random.Random, _: Notes) -> None:
        """Signals end system calls and waits early, which nobody may notice."""

        def work() -> None:
            with self.mutex:  # who is in the list is alive
                for ident in chance.choices(self.idents, k=3 if self.idents else 0):
                    signal.pthread_kill(ident, signal.SIGUSR1)

        self.again_and_again(chance, 0.01, work)

    def close(self, chance: random.Random, notes: Notes) -> None:
        time.sleep(max(0, self.over - time.monotonic()))
        with suppress(walcore.WalTimeoutError):
            self.wal.close(timeout=chance.choice((0, 0.001)))
        begin = notes.tick()
        self.wal.close()
        notes.add(CLOSE, begin)


@contextmanager
def disturbed(chance: random.Random) -> Iterator[None]:
    """Signals that do nothing, threads that change places at other times, and for some a slow disk."""
    before, interval = signal.signal(signal.SIGUSR1, lambda *_: None), sys.getswitchinterval()
    sys.setswitchinterval(chance.choice((1e-6, 1e-4, 5e-3)))
    calls.core = SlowDisk(chance) if chance.random() < 0.5 else None
    try:
        yield
    finally:
        calls.core = None
        sys.setswitchinterval(interval)
        signal.signal(signal.SIGUSR1, before)


def one_life(directory: Path, seed: int) -> int:
    """The number of calls that a crowd made."""
    chance = random.Random(seed)
    with disturbed(chance):
        wal = walcore.open(
            directory,
            sync_policy=("COMMIT", "ALWAYS", "INTERVAL")[seed % 3],
            batch_buffer_bytes=chance.choice((5000, 100_000)),
            max_segment_bytes=chance.choice((4000, 100_000)),
            sync_interval=0.005,
        )
        crowd = Crowd(wal, seed, SECONDS)
        together(list(crowd.works()), SECONDS + 60)
    left = walcore.read(directory)
    count = crowd.history.check({record.lsn: record.id for record in left})
    assert left.report.complete
    with walcore.open(directory) as wal:
        assert wal.opening.clean
        assert wal.last_lsn == max(call.high for call in crowd.history.of[LOG])
    return count


def test_one_order_explains_what_a_crowd_was_told(tmp_path: Path) -> None:
    tally = Tally("history")
    for seeds in tally.numbers(3, 60):
        for seed in seeds:
            tally.more += one_life(tmp_path / str(seed), seed)
    print(f"{tally.done} crowds of {PRODUCERS} producers, {tally.more} calls: one order explains each")
