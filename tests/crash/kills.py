"""A program that kills writers at any moment, and reads after each what they left.

    python kills.py FOLDER

Each line of its input is a range of kills, `first stop`; it carries them out and answers with a line of JSON.  A writer
is a forked child that opens the directory, logs, waits, rotates, purges, and tells on a pipe what it is about to log
(ids) and what it was promised (LSNs and ids).  KILLS_OF_A_LOG of them go on with the same directory, one after the
other; policy, sizes and steps follow from the number of the kill alone, its moment within the steps doesn't.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from player import fields

import walcore

KILLS_OF_A_LOG = 10
IDS_OF_A_WRITER = 1_000_000
LONGEST = 1200
"""Bytes that a writer may say before its last moment: what it got done counts, not how busy the machine is."""
MOMENT = 0.004
"""Seconds that its last moment may be away from then, or from its start: opening is killed as well."""


class Writer:
    """The child: does what it likes until it is killed."""

    def __init__(self, directory: Path, number: int, pipe: int) -> None:
        log = random.Random(number // KILLS_OF_A_LOG)
        self.policy = ("COMMIT", "ALWAYS", "INTERVAL")[number // KILLS_OF_A_LOG % 3]
        self.purges = log.random() < 0.3
        self.settings: dict[str, Any] = {
            "max_segment_bytes": log.choice((2500, 60_000, 1 << 20)),
            "batch_buffer_bytes": log.choice((6000, 60_000)),
            "sync_interval": 0.003,
            "preallocate_bytes": log.choice((0, 20_000)),
        }
        self.chance, self.pipe = random.Random(f"writer {number}"), pipe
        self.next_id = number % KILLS_OF_A_LOG * IDS_OF_A_WRITER + 1
        self.waiting: list[tuple[int, int, int]] = []
        self.mutex = threading.Lock()
        self.wal = walcore.open(directory, sync_policy=self.policy, **self.settings)

    def say(self, *words: object) -> None:
        os.write(self.pipe, (" ".join(map(str, words)) + "\n").encode())

    def take(self, count: int) -> range:
        with self.mutex:
            self.next_id += count
            ids = range(self.next_id - count, self.next_id)
        self.say("LOG", ids.start, ids.stop)
        return ids

    def log(self, count: int) -> None:
        """With consecutive LSNs, since nobody else logs."""
        ids = self.take(count)
        if count == 1:
            first = self.wal.log_mint(*fields(ids[0]))
        else:
            first, _ = self.wal.log_mint_many([fields(id) for id in ids])
        if self.policy == "ALWAYS":
            self.say("ACK", first, ids.start, count)
        else:
            self.waiting.append((first, ids.start, count))

    def wait(self) -> None:
        if self.waiting:
            first, _, count = self.waiting[-1]
            self.promised(first + count - 1)
            for known in self.waiting:
                self.say("ACK", *known)
        self.waiting = []

    def promised(self, lsn: int) -> None:
        if self.policy == "INTERVAL":
            self.wal.await_durable(lsn)
        else:
            self.wal.commit(lsn)

    def crowd(self) -> None:
        def work() -> None:
            for _ in range(4):
                ids = self.take(1)
                lsn = self.wal.log_mint(*fields(ids[0]))
                self.promised(lsn)
                self.say("ACK", lsn, ids.start, 1)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def purge(self) -> None:
        last = self.wal.last_lsn
        self.say("PURGE", last)
        self.wal.purge_all_segments()
        self.say("PURGED", last)
        self.waiting = []

    def step(self) -> None:
        match self.chance.randrange(40):
            case 0:
                self.wal.rotate()
            case 1:
                self.wal.flush()
            case 2 | 3:
                self.crowd()
            case 4 if self.purges:
                self.purge()
            case 5:
                self.wal.close()
                self.say("CLOSED")
                for known in self.waiting:
                    self.say("ACK", *known)
                self.waiting = []
                self.wal = walcore.open(self.wal.path, sync_policy=self.policy, **self.settings)
            case number if number < 20:
                self.log(self.chance.choice((1, 1, 1, 5, 90, 300)))
            case _:
                self.wait()


class Witness:
    """Outside: what was said by the writers of one directory, and whether what is read there fits it."""

    def __init__(self) -> None:
        self.promised: dict[int, int] = {}
        self.logged: list[range] = []
        self.doubtful = self.purged = self.highest = self.heard = 0
        self.seen: dict[int, tuple[Any, ...]] = {}

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            word, *rest = line.split()
            numbers = [int(one) for one in rest]
            if word == "LOG":
                self.logged.append(range(*numbers))
            elif word == "ACK":
                first, id, count = numbers
                for lsn in range(first, first + count):
                    assert self.promised.setdefault(lsn, id + lsn - first) == id + lsn - first, f"LSN {lsn} given twice"
                self.heard += count
                self.highest = max(self.highest, first + count - 1)
            elif word == "PURGE":
                self.doubtful = numbers[0]
            elif word == "PURGED":
                self.purged = numbers[0]
                self.highest = max(self.highest, self.purged)

    def look(self, directory: Path) -> None:
        """Every promised record is there and right, every other was logged, no LSN is missing between them."""
        rows: dict[int, tuple[Any, ...]] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", walcore.WalDamageWarning)
            for record in walcore.read(directory):
                assert record.lsn not in rows, f"LSN {record.lsn} twice"
                rows[record.lsn] = (
                    record.id, record.kind, record.lexical, record.datatype, record.language, record.hash
                )  # fmt: skip
        for lsn, id in self.promised.items():
            assert lsn <= self.doubtful or rows.get(lsn, (None,))[0] == id, f"promised LSN {lsn}, id {id}: lost"
        logged = {id for ids in self.logged for id in ids}
        for lsn, row in rows.items():
            assert lsn > self.purged, f"LSN {lsn} was purged and is there"
            assert row[0] in logged, f"LSN {lsn} was never logged: {row}"
            assert self.seen.get(lsn) == row or row == fields(row[0]), f"LSN {lsn} is another: {row}"
        assert list(rows) == sorted(rows)
        kept = {lsn for lsn in self.seen if lsn > self.doubtful}
        assert kept <= rows.keys(), f"what was read once is gone: {sorted(kept - rows.keys())[:5]}"
        self.seen = rows


def kill(directory: Path, number: int) -> list[str]:
    """The whole lines of a writer that was killed at a moment of its life."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            writer = Writer(directory, number, theirs)
            while True:
                writer.step()
        except BaseException as error:
            os.write(2, f"kill {number}: {error!r}\n".encode())
            os._exit(1)
    os.close(theirs)
    chance = random.Random(number)
    with os.fdopen(ours, "rb") as pipe:
        lines = pipe.readlines(chance.randrange(1, LONGEST)) if chance.random() < 0.8 else []
        time.sleep(chance.uniform(0, MOMENT))
        os.kill(child, signal.SIGKILL)
        text = b"".join([*lines, pipe.read()])
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"writer {number} ended on its own"
    return text.decode().split("\n")[:-1]


def check_end(directory: Path, witness: Witness) -> None:
    """The log opens, calls nothing damage, gives no LSN again, and recovers whole."""
    with walcore.open(directory, create=False) as wal:
        assert wal.opening.faults == ()
        assert wal.last_lsn >= max([witness.highest, *witness.seen])
    witness.look(directory)
    recovered = walcore.recover(directory)
    assert recovered.report.complete
    assert not recovered.conflicts


def carry_out(folder: Path, numbers: range) -> int:
    """The number of promised records of these kills."""
    promised = 0
    witness = Witness()
    directory = folder / "wal"
    for number in numbers:
        if number % KILLS_OF_A_LOG == 0 or number == numbers.start:
            shutil.rmtree(directory, ignore_errors=True)
            witness = Witness()
        before = witness.heard
        witness.hear(kill(directory, number))
        promised += witness.heard - before
        if directory.exists():
            witness.look(directory)
            if number % KILLS_OF_A_LOG == KILLS_OF_A_LOG - 1 or number == numbers.stop - 1:
                check_end(directory, witness)
    return promised


def main(folder: Path) -> None:
    for line in sys.stdin:
        first, stop = map(int, line.split())
        print(json.dumps({"promised": carry_out(folder, range(first, stop))}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
