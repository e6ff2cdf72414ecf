"""Changes to files, one at a time or of all sorts, for tests of a watched disk."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def put(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file; with `sync` its bytes are on disk, though not its name."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def settle(path: Path, data: bytes) -> None:
    """Write a file that is on disk, and so is its name."""
    put(path, data, sync=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def tumble(folder: Path, chance: random.Random, steps: int) -> None:
    """All sorts of calls on a few names, most of which go wrong now and then."""
    (folder / "s").mkdir(exist_ok=True)
    fd = os.open(folder, os.O_RDONLY)

    def name() -> str:
        return chance.choice(("a", "b", "c", "s/a", "s/b"))

    def some() -> bytes:
        return chance.randbytes(chance.choice((0, 1, 700, 5000)))

    def opened(flags: int, use: Callable[[int], object]) -> None:
        file = os.open(name(), flags | os.O_CREAT, dir_fd=fd)
        try:
            use(file)
        finally:
            os.close(file)

    moves: list[Callable[[], object]] = [
        lambda: opened(os.O_WRONLY | os.O_APPEND, lambda file: (os.write(file, some()), os.write(file, some()))),
        lambda: opened(os.O_RDWR, lambda file: os.pwrite(file, some(), chance.randrange(9000))),
        lambda: opened(os.O_RDWR, lambda file: (os.lseek(file, chance.randrange(99), 0), os.write(file, some()))),
        lambda: opened(os.O_WRONLY | os.O_TRUNC, lambda file: os.write(file, some())),
        lambda: opened(os.O_RDWR, lambda file: os.ftruncate(file, chance.randrange(9000))),
        lambda: opened(os.O_RDWR | os.O_EXCL, os.fsync),
        lambda: os.unlink(name(), dir_fd=fd),
        lambda: os.remove(folder / name()),
        lambda: os.link(name(), name(), src_dir_fd=fd, dst_dir_fd=fd),
        lambda: os.rename(name(), name(), src_dir_fd=fd, dst_dir_fd=fd),
        lambda: os.replace(folder / name(), folder / ".." / folder.name / name()),
        lambda: (folder / "new").mkdir(),
        lambda: (folder / "new").rmdir(),
        lambda: (folder / "new").rename(folder / "s" / "new"),
        lambda: (folder / "s" / "new").rmdir(),
        lambda: (folder / name()).write_text("text"),
        lambda: shutil.copy2(folder / name(), folder / "s"),
        lambda: os.fsync(fd),
    ]
    for _ in range(steps):
        with suppress(OSError):
            chance.choice(moves)()
    os.close(fd)
