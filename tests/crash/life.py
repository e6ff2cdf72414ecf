"""A whole life of a log, in which system calls may fail: it notes every promise and judges every error at once.

It opens what a crash left, logs from several threads, rotates, seals, purges, reads, logs again, closes; a seed says
how much of each and in which order.  Whatever fails, it must be told by an exception that names file and cause (and a
log that failed for good names the call); a log that says it is full goes on once there is room; one that says it failed
stays so; a reader either tells an error or reads all that was promised.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent))
import player
import witness

import walcore

OLD = 20
"""How many records the crash left that the life begins after."""
FIRST_ID = 101


FORBIDDEN = (errno.EACCES, errno.EPERM)
"""What may not be opened is passed over by a reader, who tells of it."""


class Layer(Protocol):
    """What makes the calls fail."""

    fault: int
    """The errno that it lets them end in, or a number that is none."""

    def disarm(self) -> None:
        """No call fails any more."""

    @property
    def retried(self) -> int:
        """How often a file was synced again after a sync of it had failed."""


def wrong_with(error: BaseException, folder: Path) -> str | None:
    """What an error doesn't tell of its cause and its file; None if it tells both."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError) or not cause.errno:
        return f"no cause: {error!r}"
    if os.strerror(cause.errno) not in str(error):
        return f"the cause {cause!r} is not in: {error}"
    if str(folder) not in str(error):
        return f"no file: {error!r}"
    if isinstance(error, walcore.WalFailedError) and not error.call:
        return f"no call: {error!r}"
    return None


class Life:
    """Logs and notes what was promised; `frees`: a disk that is full gets room again."""

    def __init__(self, directory: Path, policy: str, layer: Layer, *, frees: bool, seed: int = 0) -> None:
        self.directory, self.policy, self.layer, self.frees = directory, policy, layer, frees
        self.chance = random.Random(f"life {seed}")
        self.acked = {lsn: lsn for lsn in range(1, OLD + 1)}
        self.logged = set(self.acked)
        self.purged = self.doubtful = 0
        self.next_id = FIRST_ID
        self.mutex = threading.Lock()
        self.failed = False
        self.problems: list[str] = []

    def told(self, error: BaseException) -> None:
        """An error must name what happened."""
        if wrong := wrong_with(error, self.directory.parent):
            self.problems.append(wrong)

    def insist(self, action: Callable[[], object]) -> bool:
        """Do it; after a full disk make room and do it again.  False: the log failed for good, or refused the call."""
        for attempt in range(5):
            if attempt == 4:
                self.layer.disarm()
            try:
                action()
            except walcore.WalFullError as error:
                self.told(error)
                if attempt == 4:
                    raise
                if self.frees:
                    self.layer.disarm()
            except walcore.WalFailedError as error:
                self.told(error)
                self.failed = True
                return False
            except walcore.WalError:
                raise
            except OSError as error:
                self.told(error)
                return False
            else:
                return True
        raise AssertionError

    # -- the steps ----------------------------------------------------------------------------------------------------

    def log(self) -> None:
        """One record, promised under any policy."""
        id = self.take_ids(1)[0]
        lsns: list[int] = []
        # Under ALWAYS an error leaves open whether the record has its LSN; then it is as if logged twice.
        if self.insist(lambda: lsns.append(self.wal.log_mint(*player.fields(id)))):
            self.promised(lsns[-1], lsns[-1], [id])

    def many(self, count: int) -> None:
        """More than a half of the buffer holds, in one call: producers wait for room."""
        ids = self.take_ids(count)
        ranges: list[tuple[int, int]] = []
        if self.insist(lambda: ranges.append(self.wal.log_mint_many([player.fields(id) for id in ids]))):
            first, last = ranges[-1]
            if last - first == count - 1:  # else other threads' LSNs lie between its slices
                self.promised(first, last, ids)

    def take_ids(self, count: int) -> list[int]:
        with self.mutex:
            ids = list(range(self.next_id, self.next_id + count))
            self.next_id += count
            self.logged.update(ids)
        return ids

    def promised(self, first: int, last: int, ids: list[int]) -> None:
        """Wait for LSN `first` to `last`, which `ids` have, then note the promise."""
        waits = self.wal.commit if ids[0] % 2 == 0 and self.policy != "INTERVAL" else self.wal.await_durable
        if self.insist(lambda: waits(last)):
            with self.mutex:
                self.acked.update(zip(range(first, last + 1), ids, strict=True))

    def logs(self, count: int) -> None:
        """Several threads; nobody knows in which order."""

        def work(much: int) -> None:
            try:
                for _ in range(count):
                    self.log()
                self.many(much)
            except BaseException:
                self.problems.append(traceback.format_exc())

        sizes = [self.chance.randrange(1, 50) for _ in range(self.chance.randrange(2, 4))]
        threads = [threading.Thread(target=work, args=(size,)) for size in sizes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def purge(self, _: int) -> None:
        self.doubtful = self.wal.last_lsn
        try:
            self.wal.purge_all_segments()
        except walcore.WalFailedError as error:
            self.told(error)
            self.failed = True
        except (walcore.WalFullError, OSError) as error:
            self.told(error)
            self.doubtful = self.purged  # refused: all is as it was
            if self.frees:
                self.layer.disarm()
        else:
            self.purged = self.doubtful

    def rotate(self, _: int) -> None:
        self.insist(self.wal.rotate)

    def flush(self, _: int) -> None:
        self.insist(self.wal.flush)

    def seal(self, _: int) -> None:
        while self.wal.stats().seal_backlog and not self.failed:
            pass

    def read(self, _: int) -> None:
        """Readers need no lock: they see all that was promised, or tell why not."""
        try:
            rows = witness.read(self.directory)
        except OSError as error:
            self.told(error)
            return
        wrong = self.promises().judge(rows)
        if wrong and self.layer.fault not in FORBIDDEN:
            self.problems.append(f"read: {wrong}")

    def large(self, _: int) -> None:
        """A record that no half of the buffer holds."""
        self.next_id = -(-self.next_id // player.LARGE_EVERY) * player.LARGE_EVERY
        self.log()

    # -- the whole ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """From opening to closing."""
        try:
            self.wal = walcore.open(self.directory, sync_policy=self.policy, **player.SETTINGS)
        except walcore.WalLockedError:
            # So the kernel says that another one has the lock.
            if self.layer.fault not in (*FORBIDDEN, errno.EAGAIN):
                raise
            return
        except (walcore.WalFullError, OSError) as error:
            self.told(error)
            return
        steps = ["large:1", "rotate:1", "logs:2", "seal:1", "read:1", "purge:1", "flush:1", "logs:1"]
        self.chance.shuffle(steps)
        for step in ["logs:6", *steps, "logs:4"]:
            name, _, number = step.partition(":")
            getattr(self, name)(int(number))
        self.end()

    def end(self) -> None:
        """The log says what has become of it, stays so, and closes."""
        state = self.wal.stats().state
        if state != ("failed" if self.failed else "open") and not (state == "failed" and self.failed_unseen()):
            self.problems.append(f"the log says it is {state}, failed: {self.failed}")
        if self.failed:
            durable = self.wal.durable_lsn
            for action in (self.wal.rotate, self.wal.purge_all_segments, lambda: self.wal.log_mint(1, "I", "x")):
                self.must_fail(action)
            if durable < self.wal.last_lsn:
                self.must_fail(self.wal.commit)
            if self.wal.durable_lsn != durable:
                self.problems.append("durable_lsn rose after a failure")
        closed = self.insist(self.wal.close)
        if closed == self.failed or not self.wal.is_closed:
            self.problems.append(f"close: returned {closed}, failed {self.failed}, is_closed {self.wal.is_closed}")
        self.wal.close()

    def failed_unseen(self) -> bool:
        """Whether it failed in the loop while nobody waited: then whoever comes next is told."""
        self.insist(self.wal.commit)
        return self.failed

    def must_fail(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except walcore.WalFailedError as error:
            self.told(error)
        else:
            self.problems.append(f"{action} works on a failed log")

    def promises(self) -> witness.Promises:
        promises = witness.Promises([], [])
        promises.acked, promises.logged = self.acked, self.logged
        promises.doubtful, promises.purged = self.doubtful, self.purged
        return promises

    def judge(self) -> None:
        """All that was promised is there, and the log goes on."""
        if self.layer.retried:
            self.problems.append(f"{self.layer.retried} syncs of a file after a failed one")
        with walcore.open(self.directory, **player.SETTINGS) as wal:
            lsn = wal.log_mint(*player.fields(1))
            wal.commit(lsn)
            if lsn <= max(self.acked):
                self.problems.append(f"LSN {lsn} was handed out again")
            if wal.opening.faults:
                self.problems.append(f"damage: {wal.opening.faults}")
        if wrong := self.promises().judge(witness.read(self.directory)):
            self.problems.append(wrong)


def beginning(start: Path) -> Path:
    """What a crash left: sealed and plain segments, an unfinished tail, a state file."""
    child = os.fork()
    if child == 0:
        wal = walcore.open(start, sync_policy="COMMIT", **player.SETTINGS)
        for id in range(1, OLD + 1):
            wal.commit(wal.log_mint(*player.fields(id)))
        while wal.stats().seal_backlog:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    newest = max(start.glob("wal-*.v1"), key=lambda path: path.stat().st_size)
    newest.write_bytes(newest.read_bytes() + b"\x55\0\0\0torn")
    return start
