"""`open` for files below a watched tree: the standard library's buffers over calls of `os`, which are watched."""

from __future__ import annotations

import builtins
import io
import os
from typing import Any, Final

REAL_OPEN: Final = builtins.open
_FLAGS: Final = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


class PyFile(io.RawIOBase):
    """What io.FileIO is, by calls of `os` that can be stood in for."""

    def __init__(self, fd: int, mode: str, name: Any, *, closefd: bool) -> None:
        super().__init__()
        self._fd, self.mode, self.name, self._closefd = fd, mode, name, closefd

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def readable(self) -> bool:
        """By its mode."""
        return "r" in self.mode or "+" in self.mode

    def writable(self) -> bool:
        """By its mode."""
        return "r" not in self.mode or "+" in self.mode

    def seekable(self) -> bool:
        """A regular file."""
        return True

    def readinto(self, buffer: Any) -> int:
        """One reading."""
        room = memoryview(buffer).cast("B")
        data = os.read(self._fd, len(room))
        room[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        """One write, which may be short."""
        return os.write(self._fd, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, and tell where to."""
        return os.lseek(self._fd, offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or grow."""
        size = self.tell() if size is None else size
        os.ftruncate(self._fd, size)
        return size

    def close(self) -> None:
        """Close once."""
        if not self.closed:
            super().close()
            if self._closefd:
                os.close(self._fd)


def open_file(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """See the builtin open."""
    kind = mode.replace("b", "").replace("t", "").replace("+", "")
    if kind not in _FLAGS or opener is not None:
        return REAL_OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
    flags = _FLAGS[kind] | os.O_CLOEXEC
    if "+" in mode:
        flags = flags & ~os.O_WRONLY | os.O_RDWR
    fd = file if isinstance(file, int) else os.open(file, flags, 0o666)
    name = file if isinstance(file, int) else os.fspath(file)
    raw = PyFile(fd, kind + "+" * ("+" in mode), name, closefd=closefd)
    if buffering == 0:
        return raw
    buffered = io.BufferedRandom if "+" in mode else io.BufferedReader if kind == "r" else io.BufferedWriter
    buffer: Any = buffered(raw)
    return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)
