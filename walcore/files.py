"""Calls on files: opening without following or waiting, writing whole, syncing for good, errors that name the file."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from walcore.config import DEFAULT_FILE_MODE
from walcore.format import LOCK_NAME, NOT_REGULAR, PURGE_NAME, QUARANTINE_NAME, STATE_NAME
from walcore.system import calls, read_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COPY_BYTES: Final = 1 << 20
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Reading never follows a link, never waits for the other end of a FIFO, and never takes a terminal for its own.
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

_HINTS: Final = {
    errno.EROFS: "opening for writing needs a file system mounted for it; reading doesn't",
    errno.EACCES: "opening for writing needs leave to write in the log's folder and to read its files; reading does "
    "without the former",
    errno.ENOTDIR: "a log is a folder of its own; name one",
}
_MOVE: Final = "walcore needs this name for a file or folder of its own; move away what has it and open again"
_ODD: Final = dict.fromkeys((errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.ENXIO), _MOVE)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, going on after short writes."""
    view = memoryview(data)
    while view:
        view = view[calls.write(fd, view) :]


def folder_mode(file_mode: int | None) -> int:
    """The permissions of a folder whose files have `file_mode`, None being WalConfig's default: x where there is r."""
    mode = DEFAULT_FILE_MODE if file_mode is None else file_mode
    return mode | (mode & 0o444) >> 2


def inherit(source: int, target: int) -> None:
    """Let who may read `source` read `target`, its copy, and nobody else: permissions, and owner where allowed."""
    theirs, ours = calls.fstat(source), calls.fstat(target)
    mode = stat.S_IMODE(theirs.st_mode) & 0o777
    if (theirs.st_uid, theirs.st_gid) != (ours.st_uid, ours.st_gid):
        try:
            calls.fchown(target, theirs.st_uid, theirs.st_gid)
        except PermissionError:
            if theirs.st_gid != ours.st_gid:  # what its group might do, another one may only if everybody may
                mode &= 0o707 | (mode & 0o007) << 3
    if mode != stat.S_IMODE(ours.st_mode):
        calls.fchmod(target, mode)


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Append bytes `start` to `end` of one descriptor to another, in constant memory.

    Raises:
        OSError: also (EIO) when the source ends before `end`.
    """
    size = calls.fstat(source).st_size
    while start < end:
        hole = min(_next_data(source, start, size), end) - start
        if hole:  # kept: written out, a sparse file could fill the disk
            calls.ftruncate(target, calls.fstat(target).st_size + hole)
            calls.lseek(target, 0, os.SEEK_END)  # where not every write appends
        chunk = calls.pread(source, min(COPY_BYTES, end - start - hole), start + hole)
        if not chunk and start + hole < end:
            raise OSError(errno.EIO, f"file ended at {start + hole}, {end} bytes were expected")
        write_all(target, chunk)
        start += hole + len(chunk)


def same_content(one: int, other: int) -> bool:
    """Whether two open files hold the same bytes.  Raises OSError."""
    at = 0
    while (piece := read_at(one, COPY_BYTES, at)) == read_at(other, COPY_BYTES, at):
        if not piece:
            return True
        at += len(piece)
    return False


def _next_data(fd: int, offset: int, size: int) -> int:
    """Where, at or behind `offset`, something was written; `size` if nothing was."""
    if not hasattr(os, "SEEK_DATA"):
        return offset
    try:
        return calls.lseek(fd, offset, os.SEEK_DATA)
    except OSError as exc:
        return max(offset, size) if exc.errno == errno.ENXIO else offset


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


@contextmanager
def advised() -> Iterator[None]:
    """Add to the text of an OSError that comes from opening a log what to do about it."""
    try:
        yield
    except OSError as exc:
        hint = None
        if os.path.basename(str(exc.filename)) in (LOCK_NAME, PURGE_NAME, QUARANTINE_NAME, STATE_NAME):  # noqa: PTH119
            hint = _ODD.get(exc.errno or 0)
        hint = hint or _HINTS.get(exc.errno or 0)
        if hint and exc.filename is not None and not str(exc.strerror).endswith(hint):
            exc.strerror = f"{exc.strerror}: {hint}"
        raise


def close_quietly(fd: int) -> None:
    """Close `fd` where what was to be on disk is, or is given up: closing can neither lose it nor be done again."""
    with suppress(OSError):
        calls.close(fd)


@contextmanager
def closing_at_error(fd: int) -> Iterator[None]:
    """Close `fd` if the block fails; it is the block's failure that is told."""
    try:
        yield
    except BaseException:
        close_quietly(fd)
        raise


def open_regular(name: str, dir_fd: int | None) -> int:
    """Open a regular file for reading; OSError (EINVAL) if it is anything else."""
    return open_and_look(name, dir_fd)[0]


def open_and_look(name: str, dir_fd: int | None) -> tuple[int, os.stat_result]:
    """`open_regular`, and what the file is."""
    try:
        fd = calls.open(name, READ_FLAGS, dir_fd=dir_fd)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(errno.EINVAL, NOT_REGULAR) from exc
        raise
    try:
        status = calls.fstat(fd)
    except BaseException:
        close_quietly(fd)
        raise
    if not stat.S_ISREG(status.st_mode):
        close_quietly(fd)
        raise OSError(errno.EINVAL, NOT_REGULAR)
    return fd, status
