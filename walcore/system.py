"""Every call by which walcore touches a file goes through `calls`, so that a test can take the place of any of them.

Outside `walcore.testing` these are the functions of `os` and `fcntl` themselves, for the price of one attribute lookup;
the compiled core calls C.  Names and arguments are those of the standard library.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "darwin":

    def _fsync(fd: int) -> None:
        # fsync reaches the drive's cache only; where F_FULLFSYNC is refused nothing may be promised.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

    _fdatasync = _fsync

else:
    _fsync, _fdatasync = os.fsync, os.fdatasync


class CoreCalls(Protocol):
    """What the compiled core calls in place of C's functions, with the GIL; an OSError counts by its errno."""

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        """Write at `offset`; returns how many bytes were written, fewer than given for a short write."""

    def fdatasync(self, fd: int, /) -> None:
        """Bring the file's data to the disk."""

    def ftruncate(self, fd: int, size: int, /) -> None:
        """Cut the file."""

    def allocate(self, fd: int, size: int, /) -> None:
        """Lengthen the file with zeros to `size` bytes that have their place on the disk."""

    def fstat(self, fd: int, /) -> os.stat_result:
        """The file's status, of which `st_nlink` is read."""


class Calls:
    """The calls, as attributes: assign one, and all of walcore makes it instead."""

    def __init__(self) -> None:
        self.open = os.open
        self.close = os.close
        self.read = os.read
        self.pread = os.pread
        self.preadv = os.preadv
        self.write = os.write
        self.pwrite = os.pwrite
        self.ftruncate = os.ftruncate
        self.lseek = os.lseek
        self.fsync = _fsync
        self.fdatasync = _fdatasync
        self.fchmod = os.fchmod
        self.fchown = os.fchown
        self.fstat = os.fstat
        self.stat = os.stat
        self.scandir = os.scandir
        self.link = os.link
        self.rename = os.rename
        self.unlink = os.unlink
        self.mkdir = os.mkdir
        self.rmdir = os.rmdir
        self.fcntl = fcntl.fcntl
        self.lockf = fcntl.lockf
        self.core: CoreCalls | None = None
        """Given to the core of every log opened from now on; None: it calls C."""


calls = Calls()


def read_at(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on, fewer only where the file ends.  Raises OSError."""
    data = calls.pread(fd, size, offset)
    while data and len(data) < size and (more := calls.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def pieces(fd: int, size: int) -> Iterator[memoryview]:
    """All of an open file from its beginning, at most `size` bytes at a time, each valid until the next is asked for.

    Raises OSError.
    """
    at, room = 0, memoryview(bytearray(size))
    while got := calls.preadv(fd, [room], at):
        yield room[:got]
        at += got
