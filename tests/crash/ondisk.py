"""The calls of this process fail by `walcore.testing`, the product's own layer of faults: no compiler, no preloading.

What it can't do is left to the shim: interruptions of Python's own calls, and to tell that a file was synced again.
"""

from __future__ import annotations

import errno
from pathlib import Path

import faults

from walcore.testing import Disk

FAMILIES = {"ftruncate": "truncate", "fcntl": "lock", "readdir": "list", "lseek": "seek"}


class OnDisk:
    """Has the same words as `faults.Shim`; it watches from the first arming to the end of the process."""

    retried = 0

    def __init__(self, watched: Path) -> None:
        self.fault = 0
        self._disk = Disk(watched)
        self._rule = None

    def arm(self, call: str, *, nth: int, times: int, fault: int) -> None:
        self.fault = fault
        self._disk.__enter__()
        what = {"short": 7} if fault == faults.SHORT else {"error": fault}
        often = None if times == faults.FOR_EVER else times
        self._rule = self._disk.fault(FAMILIES.get(call, call), nth=nth, times=often, **what)

    def disarm(self) -> None:
        self._disk.faults.clear()

    @property
    def hits(self) -> int:
        return self._rule.met if self._rule else 0

    @property
    def met(self) -> tuple[str, str]:
        return (errno.errorcode.get(self.fault, "short"), str(self._rule))
