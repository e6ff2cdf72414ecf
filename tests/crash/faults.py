"""The preloaded shim: starting a program under it, and, in that program, arming it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

KINDS: Final = {
    "open": 1, "write": 2, "fdatasync": 4, "fsync": 8, "ftruncate": 16, "link": 32, "unlink": 64, "rename": 128,
    "read": 256, "fcntl": 512, "stat": 1024, "readdir": 2048, "lseek": 4096, "mkdir": 8192, "close": 16384,
}  # fmt: skip
SHORT, KILL, SLOW, LIE = -1, -2, -3, -4
FOR_EVER: Final = 1 << 40


def environment(shim: Path) -> dict[str, str]:
    return os.environ | {"LD_PRELOAD": str(shim)}


class Shim:
    """The shim that this very process runs under."""

    def __init__(self, watched: Path) -> None:
        """Calls count on what lies below the folder `watched`, or beside it with a name that begins like it."""
        self._library = ctypes.CDLL(None)
        self._library.shim_watch.argtypes = [ctypes.c_char_p]
        self._library.shim_watch(os.fsencode(watched.resolve()))
        self.fault = 0
        self._library.shim_arm.argtypes = [ctypes.c_uint, ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_long]
        for name in ("shim_call", "shim_path"):
            getattr(self._library, name).restype = ctypes.c_char_p
        for name in ("shim_count", "shim_hits", "shim_retried"):
            getattr(self._library, name).restype = ctypes.c_long

    def arm(self, *kinds: str, nth: int = 1, times: int = 1, fault: int = 0, seconds: float = 0) -> None:
        """Let calls `nth` to `nth + times - 1` of these kinds end in errno `fault`, or be SHORT, SLOW, LIE, KILL."""
        self.fault = fault
        mask = sum(KINDS[kind] for kind in kinds)
        self._library.shim_arm(mask, nth, nth + times - 1, fault, int(seconds * 1e9))

    def disarm(self) -> None:
        self._library.shim_arm(0, 0, 0, 0, 0)

    @property
    def count(self) -> int:
        """Calls counted since it was armed."""
        return int(self._library.shim_count())

    @property
    def hits(self) -> int:
        """Calls that were made to fail since it was armed."""
        return int(self._library.shim_hits())

    @property
    def retried(self) -> int:
        """Syncs of a regular file after a failed sync of it, since the process began."""
        return int(self._library.shim_retried())

    @property
    def met(self) -> tuple[str, str]:
        """Call and path of the first that was made to fail."""
        return self._library.shim_call().decode(), self._library.shim_path().decode()
