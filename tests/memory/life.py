"""The short life of a log in which one request for memory fails, or many from one on: each in a forked child.

    python life.py FOLDER core|python once|many FROM TO STEP

core: what the compiled modules ask malloc for, by the preloaded shim; python: what goes through the interpreter's
allocators, by _testcapi.  Number n is request n // 3 + 1 under policy n % 3.  A line for each from FROM to TO: "ok",
"over" (no request was that late) or what is wrong; it ends after ENOUGH that were over.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import mmap
import os
import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import walcore

SETTINGS: dict[str, Any] = {"batch_buffer_bytes": 4097, "max_segment_bytes": 3000, "sync_interval": 0.01}
LARGE = "ü" * 9000
NEVER = 1 << 40
MANY = {"core": NEVER, "python": 100}
"""For ever after; but an interpreter that can't make an int for its place in the code tries that again and again."""
PATIENCE = 20
STACKS = ".stacks"
ENOUGH = 30
POLICIES = ("COMMIT", "ALWAYS", "INTERVAL")
OK, OVER, WRONG = 0, 3, 4


class Faults:
    """What makes requests fail."""

    def __init__(self, kind: str, many: bool) -> None:
        self.kind, self.times = kind, MANY[kind] if many else 1
        if kind == "core":
            self.shim = ctypes.CDLL(None)
            self.shim.shim_arm.argtypes = [ctypes.c_long, ctypes.c_long]
            assert self.shim.shim_arm(NEVER, NEVER) > 4, "the shim doesn't know the core"
        else:
            import _testcapi

            self.start, self.stop = _testcapi.set_nomemory, _testcapi.remove_mem_hooks

    def arm(self, index: int) -> None:
        if self.kind == "core":
            self.shim.shim_arm(index, index + self.times - 1)
        else:
            self.start(index, index + self.times)

    def disarm(self) -> int | None:
        """How many requests failed, None if that isn't known."""
        if self.kind == "core":
            hits = int(self.shim.shim_hits())
            self.shim.shim_arm(NEVER, NEVER)
            return hits
        self.stop()
        return None

    def leaked(self) -> int:
        return int(self.shim.shim_blocks()) if self.kind == "core" else 0


class Notes:
    """What was promised, in memory that parent and child share: an LSN for each id, 0 for none."""

    def __init__(self) -> None:
        self.room = memoryview(mmap.mmap(-1, 4096)).cast("q")

    def clear(self) -> None:
        for id in range(len(self.room)):
            self.room[id] = 0

    def promised(self) -> dict[int, int]:
        return {lsn: id for id, lsn in enumerate(self.room) if lsn}


class Life:
    """The steps, each of which may fail; what they promise is noted."""

    def __init__(self, directory: Path, notes: Notes, policy: str) -> None:
        self.directory, self.notes, self.policy = directory, notes, policy
        self.wal: walcore.Wal = None  # type: ignore[assignment]
        self.refused = 0
        self.steps: list[Callable[[], object]] = [
            self.open, lambda: self.log(1, "x"), lambda: self.log(2, "é" * 40), self.many, lambda: self.log(30, LARGE),
            self.rotate, lambda: self.log(31, "y"), self.read, self.finish,
        ]  # fmt: skip

    def open(self) -> None:
        self.wal = walcore.open(self.directory, sync_policy=self.policy, **SETTINGS)

    def log(self, id: int, text: str) -> None:
        lsn = self.wal.log_mint(id, "I", text)
        self.wal.await_durable(lsn, 10)
        self.notes.room[id] = lsn

    def many(self) -> None:
        first, last = self.wal.log_mint_many([(id, "L", "z" * id, "", "de", 3) for id in range(3, 30)])
        self.wal.await_durable(last, 10)
        for id in range(3, 30):
            self.notes.room[id] = first + id - 3

    def rotate(self) -> None:
        self.wal.rotate()

    def read(self) -> None:
        self.wal.flush()
        for _ in walcore.read(self.directory):
            pass
        walcore.find(self.directory, 2)

    def finish(self) -> None:
        self.wal.stats()
        self.wal.close()

    def live(self) -> None:
        for step in self.steps:
            try:
                step()
            except Exception as error:  # the interpreter's own calls make errors of any kind of it
                self.refused += 1
                # Only then is asked where: memory may be missing for that, too.
                if isinstance(error, SystemError) and "_core" in traceback.extract_tb(error.__traceback__)[-1].filename:
                    raise  # it failed and didn't say why

    def go_on(self) -> None:
        """With memory again the log works, or says that it failed or is closed."""
        if self.wal is not None and not self.wal.is_closed:
            with suppress(walcore.WalFailedError, walcore.WalClosedError):
                self.log(40, "afterwards")
            with suppress(walcore.WalFailedError):
                self.wal.close(timeout=10)
        self.wal = None  # type: ignore[assignment]


def child(life: Life, faults: Faults, index: int) -> int:
    signal.alarm(PATIENCE)
    faulthandler.dump_traceback_later(PATIENCE / 2, file=life.directory.with_suffix(STACKS).open("w"))
    faults.arm(index)
    try:
        life.live()
    finally:
        hits = faults.disarm()
    life.go_on()
    gc.collect()
    if leaked := faults.leaked():
        print(f"{leaked} blocks were not freed", file=sys.stderr)
        return WRONG
    met = hits if hits is not None else life.refused
    return OK if met else OVER


def judge(directory: Path, notes: Notes) -> str:
    """What is wrong with what the child left; "" if nothing is."""
    promised = notes.promised()
    if not directory.exists():
        return f"{len(promised)} promises and no directory" if promised else ""
    reader = walcore.read(directory)
    found = {record.lsn: record.id for record in reader}
    if not reader.report.complete:
        return f"not complete: {reader.report.faults}"
    if list(found) != list(range(1, len(found) + 1)):
        return f"a hole: {list(found)}"
    if lost := {lsn: id for lsn, id in promised.items() if found.get(lsn) != id}:
        return f"promised and not there: {lost}"
    with walcore.open(directory) as wal:
        lsn = wal.log_mint(50, "I", "anew")
        wal.commit(lsn)
    return "" if [record.lsn for record in walcore.read(directory)] == [*found, lsn] else "not to be gone on with"


def hang(stacks: Path) -> str:
    """A thread whose own memory ran out before it could say that it runs is waited for by Thread.start for ever."""
    found = stacks.read_text()
    return "ok" if re.search(r'threading\.py", line \d+ in start$', found, re.MULTILINE) else f"it hangs: {found}"


def run(folder: Path, faults: Faults, number: int, notes: Notes) -> str:
    """One child, and what came of it."""
    directory = folder / f"wal-{number}"
    notes.clear()
    life = Life(directory, notes, POLICIES[number % len(POLICIES)])
    pid = os.fork()
    if pid == 0:
        code = WRONG
        try:
            code = child(life, faults, number // len(POLICIES) + 1)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return (
            hang(directory.with_suffix(STACKS))
            if number == signal.SIGALRM
            else f"killed by {signal.Signals(number).name}"
        )
    wrong = judge(directory, notes)
    shutil.rmtree(directory, ignore_errors=True)
    code = os.WEXITSTATUS(status)
    if wrong or code not in (OK, OVER):
        return wrong or f"exit code {code}"
    return "ok" if code == OK else "over"


def main() -> None:
    folder, kind, how, *span = sys.argv[1:]
    warnings.simplefilter("ignore")
    notes = Notes()
    for policy in POLICIES:  # what is imported or kept the first time is not asked for again
        Life(Path(folder) / f"first-{policy}", notes, policy).live()
    faults = Faults(kind, how == "many")
    over = 0
    for number in range(*map(int, span)):
        told = run(Path(folder), faults, number, notes)
        print(number, told, flush=True)
        over = over + 1 if told == "over" else 0
        if over == ENOUGH:
            break


if __name__ == "__main__":
    main()
