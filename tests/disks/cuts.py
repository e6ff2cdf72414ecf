"""Power cuts of a real file system in the midst of a log's work; a witness keeps what was promised."""

from __future__ import annotations

import ctypes
import os
import random
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import mounts
import player
import witness

import walcore
from walcore.system import calls

CUTS_OF_A_LOG: Final = 20
SIZE: Final = 1 << 29
STEPS: Final = {
    "COMMIT": "append:9 promise threads:4 many:30 promise rotate append:3 flush append:2 promise large:1 promise",
    "ALWAYS": "append:7 threads:3 rotate append:1",
    "INTERVAL": "append:40 promise threads:3 rotate append:5 sync",
}
_DIE_WITH_PARENT: Final = 1


class Lost(Exception):
    """A promise that the power cut broke."""


def log_cut_off(mount: mounts.Mount, first: int, last: int, *, lies: bool = False) -> int:
    """One log through power cuts `first` to before `last`; returns how many records were promised.

    With `lies` no sync does anything, which this has to find out.
    """
    directory, lines = mount.place / f"log-{first}", list[str]()
    promises = witness.Promises([], [])
    for number in range(first, last):
        chance = random.Random(f"cut {number}")
        policy = list(STEPS)[number // CUTS_OF_A_LOG % len(STEPS)]
        steps = STEPS[policy] + (" purge" if chance.random() < 0.2 else "")
        lines += _one(mount, directory, policy, number, steps, chance.randrange(1, 300), lies=lies)
        promises = witness.Promises(
            [line for line in lines if line[0] != "S"], [line for line in lines if line[0] == "S"]
        )
        if not directory.exists():
            if promises.acked:
                raise Lost(f"cut {number}: {len(promises.acked)} promises, and no directory")
            continue
        _judge(directory, promises, f"cut {number}, as it was left")
        with walcore.open(directory, **player.SETTINGS) as wal:
            if wal.opening.faults or wal.last_lsn < promises.highest:
                raise Lost(f"cut {number}: {wal.opening}, promised up to {promises.highest}")
        _judge(directory, promises, f"cut {number}, opened")
    return len(promises.acked)


def _one(
    mount: mounts.Mount, directory: Path, policy: str, number: int, steps: str, enough: int, *, lies: bool
) -> list[str]:
    """The whole lines of a writer whose disk lost its power once it had written `enough` of them."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _write(theirs, directory, policy, number, steps, lies=lies)
    os.close(theirs)
    text = b""
    while text.count(b"\n") < enough and (more := os.read(ours, 1 << 16)):
        text += more
    if text.count(b"\n") < enough:
        raise Lost(f"the writer of cut {number} ended by itself")
    while select.select([ours], [], [], 0)[0]:
        text += os.read(ours, 1 << 16)
    mount.cut_power()
    os.kill(child, signal.SIGKILL)
    late = b""
    while more := os.read(ours, 1 << 16):
        late += more
    os.close(ours)
    os.waitpid(child, 0)
    mount.again()
    # When the power goes the program is gone as well.  Here it lives on for a moment, in which ext4 calls a sync done
    # that the ioctl has overtaken: what it says by then is what was asked of it, and no promise.
    before, _, rest = text.rpartition(b"\n")
    said = (rest + late).decode().split("\n")[:-1]
    return before.decode().split("\n") + [line for line in said if line.startswith(("SUB ", "PURGE "))]


def _write(out: int, directory: Path, policy: str, number: int, steps: str, *, lies: bool) -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.dup2(out, 1)
    if lies:
        calls.fsync = calls.fdatasync = lambda _fd: None
        calls.core = _Liar()
    threading.excepthook = lambda _: None  # they tell of the power, as they should
    with suppress(OSError, walcore.WalError):
        player.play(str(directory), policy, number * player.IDS_OF_A_PROCESS + 1, steps.split() * 99)
    os._exit(1)


class _Liar:
    """The core's calls, without any sync."""

    pwrite, ftruncate, fstat = os.pwrite, os.ftruncate, os.fstat

    def fdatasync(self, fd: int, /) -> None:
        pass


def _judge(directory: Path, promises: witness.Promises, when: str) -> None:
    if wrong := promises.judge(witness.read(directory)):
        raise Lost(f"{when}: {wrong}")


if __name__ == "__main__":
    # python cuts.py PLACE ext4|xfs FIRST LAST: these cuts again, in a file system of their own.
    where, kind, first, last = sys.argv[1:]
    mounts.enter_own_namespace()
    with mounts.image(Path(where), kind, SIZE) as mounted:
        print(log_cut_off(mounted, int(first), int(last)))
