"""One story, again and again; each time another one of its system calls fails.

    [LD_PRELOAD=shim.so] python sweep.py FOLDER STORY SEED CALL FAULT once|ever STRIDE

STORY is a policy's name, for a whole life of a log (`life.py`), or that of a scene, at which everything that reads
takes a look (`looks.py`).  Calls 1, 1 + STRIDE, .. of that kind fail, until the story ends without a fault; with a
STRIDE of =17 it is call 17 alone, which replays one failure.  The last line printed is JSON: runs, faults met, logs
that failed for good, and what was wrong.  Without the shim calls fail by `walcore.testing`, and only lives are played.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import re
import shutil
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import faults
import life
import looks
import ondisk
import player

import walcore
from walcore.format import LOCK_NAME, PURGE_NAME
from walcore.lock import DirectoryLock

WATCHDOG = 10.0
ENOUGH = 5
"""So many wrongs are told; more of them say nothing new."""


class Sweep:
    """What fails and how; `figures` counts what was met, `wrong` tells what should not have been."""

    def __init__(self, folder: Path, call: str, fault: str, *, ever: bool, stride: str) -> None:
        self.folder, self.call, self.ever = folder, call, ever
        self.fault = getattr(faults, fault) if fault in ("SHORT", "LIE") else getattr(errno, fault)
        self.alone = int(stride[1:]) if stride.startswith("=") else None
        self.stride = 1 if self.alone else int(stride)
        self.shim = faults.Shim(folder / "run") if "LD_PRELOAD" in os.environ else ondisk.OnDisk(folder)
        self.figures: Counter[str] = Counter()
        self.wrong: list[str] = []

    def arm(self, nth: int) -> None:
        self.shim.arm(self.call, nth=nth, times=faults.FOR_EVER if self.ever else 1, fault=self.fault)

    def each(self, run: Callable[[int], tuple[int, list[str]]]) -> None:
        """Runs with the nth call failing, for each n; a run returns the faults met and what was wrong."""
        nth = self.alone or 1
        while len(self.wrong) < ENOUGH:
            hits, wrong = run(nth)
            self.figures["runs"] += 1
            self.wrong += [f"call {nth}: {problem}" for problem in wrong]
            if not hits:
                break
            self.figures["met"] += 1
            if self.alone:
                break
            nth += self.stride


# --- lives: each in a process of its own, under a watchdog -----------------------------------------------------------


def lives(sweep: Sweep, policy: str, seed: int) -> None:
    start = life.beginning(sweep.folder / "start")
    frees = sweep.fault in (errno.ENOSPC, errno.EDQUOT)
    # A life without a fault, so that no later one meets an import.
    life.Life(shutil.copytree(start, sweep.folder / "run-whole"), policy, sweep.shim, frees=False, seed=seed).run()

    def run(nth: int) -> tuple[int, list[str]]:
        directory = shutil.copytree(start, sweep.folder / f"run-{nth}")
        one = life.Life(directory, policy, sweep.shim, frees=frees, seed=seed)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            live(sweep, one, nth, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        dead = {"hits": 1, "failed": False, "wrong": [f"it hung or died, status {status}"]}
        result = json.loads(told) if told else dead
        sweep.figures["failed"] += result["failed"]
        if not result["wrong"]:
            shutil.rmtree(directory)
        return result["hits"], result["wrong"]

    sweep.each(run)


def live(sweep: Sweep, one: life.Life, nth: int, report: int) -> None:
    """A whole life in this process, which ends here."""
    faulthandler.dump_traceback_later(WATCHDOG, exit=True)
    warnings.simplefilter("ignore")
    sweep.arm(nth)
    hits, met = 0, ("", "")
    try:
        one.run()
        hits, met = sweep.shim.hits, sweep.shim.met
        sweep.shim.disarm()
        one.judge()
    except BaseException:
        hits = hits or sweep.shim.hits
        one.problems.append(traceback.format_exc())
    wrong = [f"{met}: {problem}" for problem in one.problems]
    os.write(report, json.dumps({"hits": hits, "failed": one.failed, "wrong": wrong}).encode())
    os._exit(0)


# --- looks: all in this process --------------------------------------------------------------------------------------


def look_at(sweep: Sweep, scene: str) -> None:
    start = sweep.folder / "start"
    looks.SCENES[scene](start)
    if scene != looks.LOCKED:
        open_all(sweep, start)
    directory = shutil.copytree(start, sweep.folder / "run")
    lock = DirectoryLock(directory)
    if scene == looks.LOCKED:
        lock.acquire()
    for name, look in looks.LOOKS.items():
        expected = outcome(sweep, look, directory)

        sweep.each(partial(look_again, sweep, directory, name, look, expected))


def look_again(
    sweep: Sweep, directory: Path, name: str, look: looks.Look, expected: object, nth: int
) -> tuple[int, list[str]]:
    sweep.arm(nth)
    found = outcome(sweep, look, directory)
    wrong = judge(sweep, found, expected)
    return sweep.shim.hits, [f"{name}, {sweep.shim.met}: {wrong}"] if wrong else []


def outcome(sweep: Sweep, look: looks.Look, directory: Path) -> object:
    """What a look found, or what it raised."""
    faulthandler.dump_traceback_later(WATCHDOG, exit=True)
    before = descriptors()
    try:
        found: object = look(directory)
    except Exception as error:
        found = error
    sweep.shim.disarm()
    faulthandler.cancel_dump_traceback_later()
    return found if descriptors() == before else f"a descriptor stays open after {found!r}"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def judge(sweep: Sweep, found: object, expected: object) -> str | None:
    """What is wrong with a look that met a fault."""
    if told(sweep, found) == told(sweep, expected):
        return None
    if isinstance(found, OSError):
        return life.wrong_with(found, sweep.folder)
    # A reader that may not look at the marker doesn't know what is being purged: it refuses.
    if sweep.fault in life.FORBIDDEN and not sweep.shim.met[1].endswith(PURGE_NAME):
        if isinstance(found, walcore.CorruptionError) and os.strerror(sweep.fault) in str(found):
            return None
        if isinstance(found, tuple) and not found[1]:
            return None
        if sweep.shim.met[1].endswith(LOCK_NAME):  # who may not look at it can't tell a writer's frame from a torn one
            return None if "torn_tail" in repr(found) else f"no torn tail: {found!r}"
    return f"without a word {found!r}, and without a fault {expected!r}"


def told(sweep: Sweep, found: object) -> str:
    """What was found, in words; where in a damaged gzip file its end fails depends on how far one reading went."""
    return re.sub(r"(offset\W+)\d+", r"\1", repr(found)) if sweep.fault == faults.SHORT else repr(found)


def open_all(sweep: Sweep, start: Path) -> None:
    """An opening that a fault cut off, and the next one, end where one without a fault ends."""
    whole = finish(shutil.copytree(start, sweep.folder / "run-whole"))

    def run(nth: int) -> tuple[int, list[str]]:
        directory, before = shutil.copytree(start, sweep.folder / "run-it"), descriptors()
        faulthandler.dump_traceback_later(WATCHDOG, exit=True)
        sweep.arm(nth)
        wrong = None
        try:
            walcore.open(directory, **player.SETTINGS).close()
        except walcore.WalLockedError as error:
            wrong = None if sweep.fault in (*life.FORBIDDEN, errno.EAGAIN) else repr(error)
        except (OSError, walcore.WalFullError) as error:
            wrong = life.wrong_with(error, sweep.folder)
        hits, met = sweep.shim.hits, sweep.shim.met
        sweep.shim.disarm()
        there = finish(directory)
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(directory)
        if there != whole:
            wrong = f"differs: {sorted(there.items() ^ whole.items())}"
        if descriptors() != before:
            wrong = f"descriptors stay open: {wrong}"
        return hits, [f"open, {met}: {wrong}"] if wrong else []

    sweep.each(run)


def finish(directory: Path) -> dict[str, bytes]:
    """Open and close it without a fault; all that is there then."""
    walcore.open(directory, **player.SETTINGS).close()
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def main(folder: str, story: str, seed: str, call: str, fault: str, how: str, stride: str) -> None:
    sweep = Sweep(Path(folder), call, fault, ever=how == "ever", stride=stride)
    if story in looks.SCENES:
        look_at(sweep, story)
    else:
        lives(sweep, story, int(seed))
    print(json.dumps({**sweep.figures, "wrong": sweep.wrong}))


if __name__ == "__main__":
    main(*sys.argv[1:])
