"""What lies around a log: written down before and compared after, so that whatever reaches outside is seen."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import stat
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import folders
import logs
from tally import LONG

import walcore
from walcore.cli.app import run

SECRET: Final = "urn:not-of-this-log"
SECONDS: Final = 600 if LONG else 30


def make_outside(root: Path) -> Path:
    """A folder beside the log: files, one like each of a log's own, and a whole log of somebody else's."""
    outside = root / "outside"
    other = outside / "log"
    with walcore.open(other.parent / "made", create=False) if other.exists() else _other_log(other) as log:
        log.log_mint(666, "I", SECRET)
    (outside / "victim").write_bytes(b"precious")
    (outside / "segment").write_bytes((other / "lock").read_bytes() + _plain_secret())
    return outside


def _other_log(path: Path) -> walcore.Wal:
    path.parent.mkdir()
    return walcore.open(path, store_uuid=folders.OTHER_STORE)


def _plain_secret() -> bytes:
    return logs.plain([logs.record(1, 666, SECRET)], 1, folders.STORE)


def snapshot(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Kind, inode, size, times of change, and content or target, of everything below; not who else links to it."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content: Any = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        found[str(path.relative_to(folder))] = (
            status.st_mode, status.st_ino, status.st_uid, status.st_size, status.st_mtime_ns, content
        )  # fmt: skip
    return found


# -- what can lie under a name -------------------------------------------------------------------------------------


def link_to_file(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "segment")


def link_to_folder(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "log")


def link_to_nothing(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "made-through-a-link")


def hard_link(path: Path, outside: Path) -> None:
    path.hardlink_to(outside / "victim")


def hard_linked_segment(path: Path, outside: Path) -> None:
    path.hardlink_to(outside / "segment")


def fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path, outside: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def folder(path: Path, outside: Path) -> None:
    path.mkdir()
    (path / "kept").write_bytes(b"kept")


def device(path: Path, outside: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: reading it would never end


KINDS: Final = (
    link_to_file, link_to_folder, link_to_nothing, hard_link, hard_linked_segment, fifo, listening_socket, folder,
    *([device] if os.geteuid() == 0 else []),
)  # fmt: skip
NAMES: Final = (
    "wal-1.v1",
    "wal-2.v1",
    "wal-9.v1.gz",
    "lock",
    "walcore.state",
    "walcore.purge",
    "quarantine",
    "wal-1.v1.walcore-tmp",
    "wal-1.v1.gz.walcore-tmp",
    "walcore.state.walcore-tmp",
    "walcore.purge.walcore-tmp",
)


# -- everything that can be done with a folder ---------------------------------------------------------------------


def _write(wal: Path) -> None:
    with walcore.open(wal, max_segment_bytes=1024) as log:
        for id_ in range(1, 20):
            log.log_mint(id_, "L", "x" * 100)
        log.rotate()
        log.log_mint(1, "L", "y")
        log.purge_all_segments()
        log.log_mint(2, "L", "z")


class Beginning(io.BytesIO):
    """Keeps the first mebibyte of what is written: the memory of what is tested is measured, not the test's."""

    def write(self, data: Any) -> int:
        return super().write(data) if self.tell() < 1 << 20 else len(data)


def _command(*words: str) -> Callable[[Path], object]:
    def call(wal: Path) -> str:
        with contextlib.redirect_stdout(io.TextIOWrapper(Beginning(), "utf-8")) as out:
            with contextlib.redirect_stderr(io.StringIO()) as err:
                status = run([word.format(wal=wal) for word in words])
            sys.stdout.flush()
            assert isinstance(out.buffer, io.BytesIO)
            text = out.buffer.getvalue().decode()
        assert "fault of walcore itself" not in err.getvalue(), err.getvalue()
        assert status in {0, 1, 3, 4}
        return text + err.getvalue()

    return call


OPERATIONS: Final[dict[str, Callable[[Path], object]]] = {
    **{f"read {mode}": lambda wal, mode=mode: deque(walcore.read(wal, mode=mode), 1000) for mode in walcore.ReadMode},  # type: ignore[misc]
    "find": lambda wal: walcore.find(wal, 666),
    "recover": lambda wal: walcore.recover(wal, allow_incomplete=True, mode="SALVAGE").records,
    **{word: _command(word, "{wal}") for word in ("info", "cat", "verify")},
    "find 666": _command("find", "666", "{wal}"),
    "recover -o": _command("recover", "{wal}", "-o", "-", "--allow-incomplete"),
    "open": lambda wal: walcore.open(wal).close(),
    "write": _write,
    "load": _command("load", "/dev/null", "--format", "ndjson", "--wal", "{wal}"),
    "purge": _command("purge", "{wal}", "--yes"),
}


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Fail instead of waiting for ever; warnings about damage are what is expected."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"still waiting after {SECONDS} seconds")

    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", walcore.WalDamageWarning)
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def do(name: str, wal: Path) -> object:
    """One operation, to its end or to an error that a user is told of; gives what it read."""
    with watched():
        try:
            return OPERATIONS[name](wal)
        except (OSError, walcore.WalError) as error:
            assert str(error)
            return None
