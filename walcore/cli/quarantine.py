"""What openings left out of a log and kept: how much of it lies in the folder `quarantine`."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from walcore.cli.output import count, size

if TYPE_CHECKING:
    from pathlib import Path


def quarantined(wal: Path) -> dict[str, int | None]:
    """Number and bytes of the files in the quarantine, as --json prints them; None where it may not be looked into."""
    from walcore.format import QUARANTINE_NAME
    from walcore.segments import Directory

    sizes = []
    try:
        with Directory(wal) as log, Directory(wal / QUARANTINE_NAME, within=log.fd) as folder:
            for name in folder.names():
                status = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    sizes.append(status.st_size)
    except PermissionError:
        return {"quarantine_files": None, "quarantine_bytes": None}
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a link is no folder of ours
            raise
    return {"quarantine_files": len(sizes), "quarantine_bytes": sum(sizes)}


def described(facts: dict[str, Any]) -> str:
    """The same for a person."""
    files = facts["quarantine_files"]
    if files is None:
        return "can't be told: it may not be read"
    return f"{count(files, 'file')}, {size(facts['quarantine_bytes'])}" if files else "none"
