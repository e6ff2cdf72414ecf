"""Calls on files: opening without following or waiting, writing whole, syncing for good, errors that name the file."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COPY_BYTES: Final = 1 << 20
FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
# Reading never follows a link, and never waits for the other end of a FIFO.
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
NOT_REGULAR: Final = "not a regular file"


if sys.platform == "darwin":

    def _sync(fd: int, _call: Callable[[int], None]) -> None:
        # fsync reaches the drive's cache only; where F_FULLFSYNC is refused nothing may be promised.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:

    def _sync(fd: int, call: Callable[[int], None]) -> None:
        call(fd)


def sync_file(fd: int) -> None:
    """Bring the data of `fd`, and the size that it needs to be read, to the disk.  Raises OSError."""
    _sync(fd, getattr(os, "fdatasync", os.fsync))


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, going on after short writes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(fd: int) -> None:
    """Bring the names in the directory `fd` to the disk.  Raises OSError."""
    _sync(fd, os.fsync)


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Append bytes `start` to `end` of one descriptor to another, in constant memory.

    Raises:
        OSError: also (EIO) when the source ends before `end`.
    """
    while start < end:
        chunk = os.pread(source, min(COPY_BYTES, end - start), start)
        if not chunk:
            raise OSError(errno.EIO, f"file ended at {start}, {end} bytes were expected")
        write_all(target, chunk)
        start += len(chunk)


@contextmanager
def told(call: str, path: Path) -> Iterator[None]:
    """Let an OSError out with the full path and the name of the call; an inner block's word counts."""
    try:
        yield
    except OSError as exc:
        if not hasattr(exc, "call"):
            exc.filename = str(path)
            if exc.filename2 is not None:
                del exc.filename2
            exc.call = call  # type: ignore[attr-defined]
        raise


def open_regular(name: str, dir_fd: int | None) -> int:
    """Open a regular file for reading; OSError (EINVAL) if it is anything else."""
    try:
        fd = os.open(name, READ_FLAGS, dir_fd=dir_fd)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(errno.EINVAL, NOT_REGULAR) from exc
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, NOT_REGULAR)
    return fd
