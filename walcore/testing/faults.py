"""Rules by which calls fail, stop short, take long, or are the last before the power goes."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Final

# What a rule may call them by, besides their own names and "*".
FAMILIES: Final = {
    "pread": "read", "preadv": "read", "pwrite": "write", "fsync": "sync", "fdatasync": "sync", "ftruncate": "truncate",
    "replace": "rename", "remove": "unlink", "fstat": "stat", "fcntl": "lock", "lockf": "lock", "fchmod": "chmod",
    "listdir": "list", "scandir": "list", "fchown": "chown", "lseek": "seek",
}  # fmt: skip
OTHERS: Final = ("open", "close", "read", "write", "rename", "link", "unlink", "mkdir", "rmdir", "stat", "truncate")
_KNOWN: Final = {"*", *FAMILIES, *FAMILIES.values(), *OTHERS}


class PowerOffError(OSError):
    """What every call raises once the power is off; nothing reaches the files any more."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """A rule; see `Disk.fault`.  `seen` counts the calls that it was for, `met` those that it spoiled."""

    call: str
    error: int = 0
    nth: int = 1
    times: int | None = 1
    name: str = "*"
    short: int | None = None
    delay: float = 0.0
    crash: bool = False
    chance: float = 1.0
    seen: int = 0
    met: int = 0

    def __post_init__(self) -> None:
        if self.call not in _KNOWN:
            msg = f"no call is named {self.call!r}; there are {', '.join(sorted(_KNOWN))}"
            raise ValueError(msg)
        if self.error == errno.EINTR and self.times is None:
            msg = "EINTR for ever would never end: who is interrupted calls again; give times"
            raise ValueError(msg)
        if not (self.error or self.short is not None or self.delay or self.crash):
            msg = "a fault needs an error, short, delay or crash"
            raise ValueError(msg)

    def meets(self, call: str, path: str, random: Random) -> bool:
        """Whether the call that is about to be made is one to be spoiled; counts it."""
        if self.call not in ("*", call, FAMILIES.get(call)):
            return False
        if not (fnmatchcase(path, self.name) or fnmatchcase(path.rpartition("/")[2], self.name)):
            return False
        self.seen += 1
        due = self.seen >= self.nth and (self.times is None or self.met < self.times)
        due = due and (self.chance >= 1 or random.random() < self.chance)
        self.met += due
        return due

    def exception(self, path: str) -> OSError:
        """What the call raises."""
        return OSError(self.error, os.strerror(self.error), path)
