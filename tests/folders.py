"""Logs made by hand for tests of the directory, and system calls that fail when they are told to."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oracle

import walcore
from walcore import system
from walcore.errors import WalFullError

if TYPE_CHECKING:
    from walcore.segments import Directory, Segment

STORE = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_STORE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
CALLS = ("open", "write", "fsync", "fdatasync", "link", "rename", "unlink", "mkdir", "fchmod")


def mint(lsn: int, lexical: str = "") -> bytes:
    return oracle.mint_frame(lsn, lsn, "I", lexical or f"urn:{lsn}", "", "", 0)


def plain(number: int, lsns: Iterable[int], store: str = STORE) -> bytes:
    """The bytes of a plain segment with a record for each LSN, whose id is the same."""
    lsns = list(lsns)
    header = oracle.header_frame(store, 1_700_000_000, number, lsns[0] if lsns else 1)
    return header + b"".join(mint(lsn) for lsn in lsns)


FIRST = plain(1, range(1, 6))


def headless(content: bytes) -> bytes:
    """A segment with one bit of its header flipped: its records are there, and nothing tells whose and where."""
    damaged = bytearray(content)
    damaged[12] ^= 1
    return bytes(damaged)


def sealed(content: bytes, last_id: int) -> bytes:
    """What sealing makes of the bytes of a plain segment."""
    return gzip.compress(content + oracle.summary_frame(last_id, zlib.crc32(content)), mtime=0)


def put(directory: Path, **segments: bytes) -> Path:
    """Make `directory` with files: `wal_7=...` is `wal-7.v1`, `wal_7_gz=...` is `wal-7.v1.gz`."""
    directory.mkdir(exist_ok=True)
    for key, data in segments.items():
        stem, _, suffix = key.removeprefix("wal_").partition("_")
        (directory / f"wal-{stem}.v1{'.gz' if suffix else ''}").write_bytes(data)
    return directory


def made(directory: Directory, **segments: bytes) -> list[Segment]:
    put(directory.path, **segments)
    return directory.segments()


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below `directory` with its bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def lsns(directory: Path) -> list[int]:
    """The LSNs of all records of a log without damage."""
    return [record.lsn for record in walcore.read(directory, mode="STRICT")]


class Killed(BaseException):
    """The process was killed here: it does nothing any more."""


@contextmanager
def failing(monkeypatch: Any, nth: int, error: Callable[[], BaseException], *, for_ever: bool) -> Iterator[list[str]]:
    """Let the nth changing system call, and with `for_ever` every later one, fail; gives the list of calls made."""
    made: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            reading = name == "open" and not args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
            if reading:
                return real(*args, **kwargs)
            made.append(name)
            if len(made) == nth or (for_ever and len(made) > nth):
                raise error()
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(system.calls, name, wrap(name, getattr(system.calls, name)))
        yield made


def every_kill(
    monkeypatch: Any, start: Path, work: Callable[[Path], object], error: Callable[[], BaseException] = Killed
) -> Iterator[tuple[int, Path]]:
    """Do `work` on copies of `start`, killed at its first, second, .. changing call; gives each copy as it was left.

    Ends with the first copy that the work got through on.
    """
    for nth in range(1, 1000):
        copy = start.with_name(f"{start.name}-{nth}")
        shutil.copytree(start, copy)
        try:
            with failing(monkeypatch, nth, error, for_ever=True):
                work(copy)
        except (Killed, OSError, WalFullError):
            yield nth, copy
        else:
            yield 0, copy
            return
