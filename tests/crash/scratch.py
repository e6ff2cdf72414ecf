"""Where tests work that sync by the hundred thousand: on a disk most of their time would go into that.

Nothing of what they look for depends on it: power cuts are made up, kills leave what the system holds.  Real disks are
for `tests/disks`, and for all other folders.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
ROOM: Final = 1 << 30


def memory() -> Path | None:
    """A folder that lies in memory, if there is one with a gibibyte to spare; None stands for the usual place."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None
