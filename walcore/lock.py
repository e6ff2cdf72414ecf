"""One writer per directory: a lock over the whole file `lock`, the one that RDF4J takes as well.

On Linux it is an open-file-description lock: it also shuts out a second opening in the same process, and it outlives
the closing of another descriptor of the file.  A forked child inherits it, hence `abandon_in_child`, and a release in
so many words.  Elsewhere it is a POSIX lock, which belongs to the process: a set of paths keeps the second opening
out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import ujson

from walcore.config import DEFAULT_FILE_MODE
from walcore.errors import WalLockedError
from walcore.format import LOCK_NAME
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HAS_OFD: Final = hasattr(fcntl, "F_OFD_SETLK")
# struct flock: short l_type, l_whence; off_t l_start, l_len; pid_t l_pid; and the padding at its end.
_FLOCK: Final = struct.Struct("@hhqqi0q")
_OFD_PID: Final = -1
_HOLDER_BYTES: Final = 4096
_HOST_CHARS: Final = 300
_HOLDER_BEGIN: Final = b'{"pid":'
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_ATTEMPTS: Final = 3
# No lock file, none that may be opened, or a link, which no writer takes; any other error says nothing of writers.
_NO_WRITERS: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)

_held_paths: set[str] = set()
_held_paths_lock = threading.Lock()


class DirectoryLock:
    """The writer's lock of one directory.  Not reentrant."""

    def __init__(self, directory: Path, *, within: int | None = None, file_mode: int | None = None) -> None:
        """`within` is the descriptor of `directory`, if it is open; `file_mode` is WalConfig's."""
        self.path = directory / LOCK_NAME
        self._within = within
        self._file_mode = file_mode
        self._fd = -1
        self._has_word = False
        self._key = ""

    def acquire(self) -> None:
        """Take the lock, without waiting, and leave word who holds it.

        Raises:
            WalLockedError: another writer has it; `holder` tells who, as far as can be known.
            OSError: the file can't be opened (a read-only directory), or is no regular file.
        """
        if self._fd >= 0:
            msg = f"{self.path} is already held by this lock object"
            raise RuntimeError(msg)
        key = os.path.realpath(self.path)
        if not _HAS_OFD:
            _claim(key, self.path)
        fd = -1
        try:
            fd = self._open()
            _lock(fd, self.path)
        except BaseException:
            if fd >= 0:
                calls.close(fd)
            if not _HAS_OFD:
                _unclaim(key)
            raise
        self._fd, self._key = fd, key
        # Word for people who find the directory locked; a full disk must not keep the log from opening.
        with suppress(OSError):
            self._has_word = _may_hold_word(fd)
            if self._has_word:
                calls.ftruncate(fd, 0)
                calls.pwrite(fd, _holder_line(), 0)

    def release(self) -> None:
        """Give the lock back; calling it again does nothing."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            with suppress(OSError):
                if self._has_word:
                    calls.ftruncate(fd, 0)
            # Closing alone would leave the lock with any child forked since; without one it gives it back as well.
            with suppress(OSError):
                _set(fd, fcntl.F_UNLCK)
        finally:
            with suppress(OSError):  # it is given back, and closed whatever is said of it
                calls.close(fd)
            if not _HAS_OFD:
                _unclaim(self._key)

    def _open(self) -> int:
        name = str(self.path) if self._within is None else self.path.name
        mode = DEFAULT_FILE_MODE if self._file_mode is None else self._file_mode
        fd = -1
        try:
            try:
                fd = calls.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, mode, dir_fd=self._within)
                if self._file_mode is not None:  # whatever the umask is
                    calls.fchmod(fd, mode)
            except FileExistsError:
                fd = calls.open(name, _FLAGS, dir_fd=self._within)
            _expect_regular(fd)
        except OSError as exc:
            exc.filename = str(self.path)
            if fd >= 0:
                calls.close(fd)
            raise
        return fd

    def abandon_in_child(self) -> None:
        """In a forked child: close the inherited copy of the descriptor; the parent's lock stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            calls.close(fd)
            if not _HAS_OFD:
                _held_paths.discard(self._key)


def is_locked(directory: Path) -> bool:
    """Whether a writer, walcore or RDF4J, has the directory at this moment; takes nothing."""
    path = directory / LOCK_NAME
    # With POSIX locks, opening and closing the file here would drop the lock of this very process.
    if not _HAS_OFD and os.path.realpath(path) in _held_paths:
        return True
    try:
        with _named(path):
            fd = calls.open(path, _FLAGS & ~os.O_RDWR)
    except OSError as exc:
        if exc.errno not in _NO_WRITERS:
            raise
        return False
    try:
        return _conflict(fd, path) is not None
    finally:
        calls.close(fd)


def check_unlocked(directory: Path) -> None:
    """Raise WalLockedError if a writer has the directory at this moment; takes nothing, and makes no lock file."""
    if is_locked(directory):
        raise _locked(directory / LOCK_NAME, {})


def _expect_regular(fd: int) -> None:
    if not stat.S_ISREG(calls.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "the lock is not a regular file; remove it")


def _may_hold_word(fd: int) -> bool:
    """Whether a holder may be written into the file: nothing is in it but an earlier one, and it has no other name.

    What somebody else put there, or has in a file of his that is linked here, is not cut off; the lock holds all the
    same.
    """
    status = calls.fstat(fd)
    begin = calls.pread(fd, len(_HOLDER_BEGIN), 0)
    left = _HOLDER_BEGIN.startswith(begin) or not any(begin)  # zeros are what a power cut leaves of it
    return status.st_nlink == 1 and left


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an OSError out with the lock's path."""
    try:
        yield
    except OSError as exc:
        exc.filename = str(path)
        raise


def _lock(fd: int, path: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            with _named(path):
                _set(fd, fcntl.F_WRLCK)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        else:
            return
        pid = _conflict(fd, path)
        if pid is not None:
            raise _locked(path, _holder(fd, pid))
    raise _locked(path, {})


def _flock(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


def _set(fd: int, kind: int) -> None:
    if _HAS_OFD:
        calls.fcntl(fd, fcntl.F_OFD_SETLK, _flock(kind))
    else:
        calls.lockf(fd, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _conflict(fd: int, path: Path) -> int | None:
    """The pid of who keeps us out (-1 for an open-file-description lock, 0 if it can't be known), None if nobody."""
    if not _HAS_OFD:
        # struct flock differs between systems; the answer to "is it locked" doesn't.
        try:
            calls.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return 0
        calls.lockf(fd, fcntl.LOCK_UN)
        return None
    with _named(path):
        answer = calls.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
    kind, _, _, _, pid = _FLOCK.unpack(answer)
    return None if kind == fcntl.F_UNLCK else pid


def _host() -> str:
    return os.uname().nodename  # what socket.gethostname gives, whose module takes 4 ms to import


def _holder(fd: int, pid: int) -> dict[str, Any]:
    if pid > 0:
        return {"pid": pid, "host": _host()}
    if pid != _OFD_PID and _HAS_OFD:
        return {}
    try:
        holder = ujson.loads(calls.pread(fd, _HOLDER_BYTES, 0))
        pid, host, since = int(holder["pid"]), str(holder["host"]), str(holder["since"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return {}
    told = f"{host}{since}"  # by whoever may write the file: it goes to terminals
    sound = len(told) <= _HOST_CHARS and told.isprintable()
    return {"pid": pid, "host": host, "since": since} if sound and _may_live(pid, host) else {}


def _may_live(pid: int, host: str) -> bool:
    """False if the process is known to be gone: its word was left by a crash, or a child of it keeps the lock."""
    if host != _host():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def _holder_line() -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": _host(), "since": since}
    return ujson.dumps(holder).encode() + b"\n"


def _locked(path: Path, holder: dict[str, Any]) -> WalLockedError:
    who = "an unknown process" if not holder else f"process {holder['pid']} on {holder['host']}"
    since = f" since {holder['since']}" if "since" in holder else ""
    msg = f"{path.parent} is locked: {who} writes to it{since}; close that log first, or read without a lock"
    return WalLockedError(msg, holder=holder)


def _claim(key: str, path: Path) -> None:
    with _held_paths_lock:
        if key in _held_paths:
            raise _locked(path, {"pid": os.getpid(), "host": _host()})
        _held_paths.add(key)


def _unclaim(key: str) -> None:
    with _held_paths_lock:
        _held_paths.discard(key)
