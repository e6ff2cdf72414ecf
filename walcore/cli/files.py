"""Files that commands write: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import IO, TYPE_CHECKING, Final

from walcore.config import DEFAULT_FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME_CHARS: Final = 100


def write_file(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """The file that `fill` writes.  Errors of writing name the file that the user named, wherever the bytes went first;
    those of another file, which `fill` reads, name that.
    """
    # Under a name that nobody else knows or has made: in a folder like /tmp a link could lie there.
    aside = path.with_name(f".{path.name[:NAME_CHARS]}.{secrets.token_hex(8)}.tmp")
    special = path.exists() and not path.is_file()  # a pipe or a device, which a file in its place would not be
    try:
        if special:
            _fill(path, fill)
        else:
            _put_in_place(path, aside, fill)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(path), str(aside)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _put_in_place(path: Path, aside: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Written aside and put in place when it is whole; what was there before stays until then."""
    try:
        _fill(aside, fill, "xb")
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def _fill(path: Path, fill: Callable[[IO[bytes]], object], mode: str = "wb") -> None:
    with open(path, mode, opener=_private) as file:
        fill(file)
        file.flush()
        if path.is_file():
            os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, DEFAULT_FILE_MODE)
