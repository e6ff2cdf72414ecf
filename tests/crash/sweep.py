"""One life of a log, again and again; each time another one of its system calls fails.

    LD_PRELOAD=shim.so python sweep.py FOLDER POLICY CALL FAULT once|ever STRIDE

Each life is a process of its own, under a watchdog.  It opens what a crash left, logs from two threads, rotates, seals,
purges, logs again, closes; it notes every promise.  Whatever fails, it must be told by an exception that names call,
file and cause; a log that says it is full goes on once there is room; one that says it failed stays so; and at the end
all that was promised is read back.  The last line printed is JSON: lives, faults met, and what was wrong.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import shutil
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import faults
import player
import witness

import walcore

WATCHDOG = 10.0
OLD = 20


class Wrong(Exception):
    """A promise of walcore's that does not hold."""


class Life:
    """Logs and notes what was promised; what fails is judged at once."""

    def __init__(self, directory: Path, policy: str, shim: faults.Shim, *, frees: bool) -> None:
        self.directory, self.policy, self.shim, self.frees = directory, policy, shim, frees
        self.acked = {lsn: lsn for lsn in range(1, OLD + 1)}
        self.logged = set(self.acked)
        self.purged = self.doubtful = 0
        self.next_id = 100
        self.mutex = threading.Lock()
        self.failed = False
        self.problems: list[str] = []

    def told(self, error: BaseException) -> None:
        """An error must name what happened: the call (or a step made of calls), the file, the cause."""
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or not cause.errno:
            self.problems.append(f"no cause: {error!r}")
        elif os.strerror(cause.errno) not in str(error):
            self.problems.append(f"the cause {cause!r} is not in: {error}")
        if str(self.directory.parent) not in str(error):
            self.problems.append(f"no file: {error!r}")
        if isinstance(error, walcore.WalFailedError) and not error.call:
            self.problems.append(f"no call: {error!r}")

    def insist(self, action: Callable[[], object]) -> bool:
        """Do it; after a full disk make room and do it again.  False: the log failed for good, or refused the call."""
        for _ in range(4):
            try:
                action()
            except walcore.WalFullError as error:
                self.told(error)
                if self.frees:
                    self.shim.disarm()
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
        self.shim.disarm()
        try:
            action()
        except walcore.WalFailedError as error:
            self.told(error)
            self.failed = True
            return False
        return True

    def log(self) -> None:
        """One record, promised under any policy."""
        with self.mutex:
            id, self.next_id = self.next_id, self.next_id + 1
            self.logged.add(id)
        lsns: list[int] = []

        def mint() -> None:
            # Under ALWAYS an error leaves open whether the record has its LSN; then it is as if logged twice.
            lsns.append(self.wal.log_mint(*player.fields(id)))

        if self.insist(mint):
            lsn = lsns[-1]
            if self.insist(lambda: self.wal.await_durable(lsn) if id % 2 else self.wal.commit(lsn)):
                if self.policy == "INTERVAL" and id % 2 == 0 and not self.insist(lambda: self.wal.await_durable(lsn)):
                    return
                with self.mutex:
                    self.acked[lsn] = id

    def logs(self, count: int) -> None:
        def work() -> None:
            try:
                for _ in range(count):
                    self.log()
            except BaseException:
                self.problems.append(traceback.format_exc())

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def purge(self) -> None:
        self.doubtful = self.wal.last_lsn
        try:
            self.wal.purge_all_segments()
        except walcore.WalFailedError as error:
            self.told(error)
            self.failed = True
        except (walcore.WalFullError, OSError) as error:
            self.told(error)
            self.doubtful = 0  # refused: all is as it was
            if self.frees:
                self.shim.disarm()
        else:
            self.purged = self.doubtful

    def run(self) -> None:
        try:
            self.wal = walcore.open(self.directory, sync_policy=self.policy, **player.SETTINGS)
        except (walcore.WalFullError, OSError) as error:
            self.told(error)
            return
        self.logs(12)
        self.insist(self.wal.rotate)
        self.logs(2)
        while self.wal.stats().seal_backlog and not self.failed:
            pass
        if self.next_id % 3 == 0:
            self.insist(self.wal.flush)
        self.purge()
        self.logs(10)
        self.end()

    def end(self) -> None:
        state = self.wal.stats().state
        if state != ("failed" if self.failed else "open"):
            self.problems.append(f"the log says it is {state}, failed: {self.failed}")
        if self.failed:
            durable = self.wal.durable_lsn
            self.must_fail(self.wal.rotate)
            self.must_fail(self.wal.purge_all_segments)
            self.must_fail(lambda: self.wal.log_mint(1, "I", "x"))
            if durable < self.wal.last_lsn:
                self.must_fail(self.wal.commit)
            if self.wal.durable_lsn != durable:
                self.problems.append("durable_lsn rose after a failure")
        closed = self.insist(self.wal.close)
        if closed == self.failed or not self.wal.is_closed:
            self.problems.append(f"close: returned {closed}, failed {self.failed}, is_closed {self.wal.is_closed}")
        self.wal.close()

    def must_fail(self, action: Callable[[], object]) -> None:
        try:
            action()
        except walcore.WalFailedError as error:
            self.told(error)
        else:
            self.problems.append(f"{action} works on a failed log")

    def judge(self) -> None:
        """All that was promised is there, and the log goes on."""
        if self.shim.retried:
            self.problems.append(f"{self.shim.retried} syncs of a file after a failed one")
        promises = witness.Promises([], [])
        promises.acked, promises.logged = self.acked, self.logged | {1}
        promises.doubtful, promises.purged = self.doubtful, self.purged
        with walcore.open(self.directory, **player.SETTINGS) as wal:
            lsn = wal.log_mint(*player.fields(1))
            wal.commit(lsn)
            if lsn <= max(self.acked):
                self.problems.append(f"LSN {lsn} was handed out again")
            if wal.opening.faults:
                self.problems.append(f"damage: {wal.opening.faults}")
        if wrong := promises.judge(witness.read(self.directory)):
            self.problems.append(wrong)


def beginning(folder: Path) -> Path:
    """What a crash left: sealed and plain segments, an unfinished tail, a state file."""
    start = folder / "start"
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


def live(directory: Path, policy: str, call: str, fault: int, nth: int, times: int, report: int) -> None:
    """A whole life in this process, which ends here."""
    faulthandler.dump_traceback_later(WATCHDOG, exit=True)
    warnings.simplefilter("ignore")
    shim = faults.Shim()
    life = Life(directory, policy, shim, frees=fault in (errno.ENOSPC, errno.EDQUOT))
    shim.arm(call, nth=nth, times=times, fault=fault)
    try:
        life.run()
        hits = shim.hits
        shim.disarm()
        life.judge()
    except BaseException:
        hits = shim.hits
        life.problems.append(traceback.format_exc())
    os.write(report, json.dumps({"hits": hits, "met": shim.met, "wrong": life.problems}).encode())
    os._exit(0)


def sweep(folder: Path, policy: str, call: str, fault: int, *, ever: bool, stride: int) -> dict[str, object]:
    start, lives, met = beginning(folder), 0, 0
    # A life without a fault, so that no later one meets an import.
    Life(shutil.copytree(start, folder / "whole"), policy, faults.Shim(), frees=False).run()
    wrong: list[str] = []
    nth = 1
    while len(wrong) < 5:
        directory = folder / f"life-{nth}"
        shutil.copytree(start, directory)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            live(directory, policy, call, fault, nth, faults.FOR_EVER if ever else 1, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        result = json.loads(told) if told else {"hits": 1, "wrong": [f"it hung or died, status {status}"]}
        lives += 1
        wrong += [f"call {nth}, {result.get('met')}: {problem}" for problem in result["wrong"]]
        if not result["wrong"]:
            shutil.rmtree(directory)
        if not result["hits"]:
            break
        met += 1
        nth += stride
    return {"lives": lives, "met": met, "wrong": wrong}


if __name__ == "__main__":
    where, policy, call, fault, mode, stride = sys.argv[1:]
    number = getattr(faults, fault) if fault == "SHORT" else getattr(errno, fault)
    print(json.dumps(sweep(Path(where), policy, call, number, ever=mode == "ever", stride=int(stride))))
