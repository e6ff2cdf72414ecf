"""Real file systems of our own: small, slow to nobody, and gone with this process, whatever ends it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

import pytest

CLONE_NEWNS: Final = 0x00020000
SHUTDOWN: Final = 0x8004587D
"""The ioctl of ext4 and XFS by which all writing ends at once, as when the power goes."""
NO_LOG_FLUSH: Final = struct.pack("I", 2)


def enter_own_namespace() -> None:
    """From here on what this process mounts is seen by it and its children alone, and ends with the last of them."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting file systems needs Linux and root")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip(f"no mounts of our own here: {os.strerror(ctypes.get_errno())}")
    run("mount", "--make-rprivate", "/")


def run(*command: str | Path) -> None:
    """Skips the test where the system lacks the command, or has it and can't do this (a container's rules)."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


class Mount:
    """A place where a file system is mounted from `with` to the end of its block, and again by `again`."""

    def __init__(self, place: Path, *options: str | Path) -> None:
        self.place = place
        self._options = options
        place.mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        run("mount", *self._options, self.place)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.place], check=True)

    def again(self) -> None:
        """Unmount and mount anew: what was in memory only is gone, what the journal has is played back."""
        subprocess.run(["umount", self.place], check=True)
        run("mount", *self._options, self.place)

    def cut_power(self) -> None:
        """Nothing reaches the disk any more, neither data nor what the journal holds in memory."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(fd)


def tmpfs(place: Path, size: str) -> Mount:
    return Mount(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def image(place: Path, kind: str, size: int, *, within: Path | None = None) -> Mount:
    """A file system of `kind` in a sparse file of `size` bytes beside `place`, or in the folder `within`."""
    file = (within or place.parent) / f"{place.name}.img"
    with file.open("wb") as made:
        made.truncate(size)
    quiet = ("-F", "-q", "-m", "0") if kind == "ext4" else ("-f", "-q")
    run(f"mkfs.{kind}", *quiet, file)
    return Mount(place, "-t", kind, "-o", "loop", file)
