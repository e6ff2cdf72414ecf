"""What a system refuses is told with its cause: read-only mounts, immutable files, no descriptor left."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mounts
import pytest

import walcore


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    mounts.run("chattr", "+i", path)
    try:
        yield
    finally:
        mounts.run("chattr", "-i", path)


def test_a_read_only_mount_is_read_and_not_opened(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint(1, "I", "x")
    with mounts.Mount(tmp_path / "seen", "--bind", tmp_path / "wal"):
        mounts.run("mount", "-o", "remount,bind,ro", tmp_path / "seen")
        with pytest.raises(OSError, match="reading doesn't") as caught:
            walcore.open(tmp_path / "seen")
        assert caught.value.errno == errno.EROFS
        assert [record.lsn for record in walcore.read(tmp_path / "seen", mode="STRICT")] == [1]


def test_an_immutable_folder_is_told(tmp_path: Path) -> None:
    with mounts.image(tmp_path / "disk", "ext4", 8 << 20) as disk:
        directory = disk.place / "wal"
        with walcore.open(directory) as wal:
            wal.log_mint(1, "I", "x")
        with immutable(directory), walcore.open(directory) as wal:
            lsn = wal.log_mint(2, "I", "x")
            with pytest.raises(walcore.WalFailedError, match="Operation not permitted"):
                wal.commit(lsn)
            with pytest.raises(walcore.WalFailedError):
                wal.close()
        with walcore.open(directory) as wal:
            assert wal.log_mint(3, "I", "x") == 2
        assert [record.lsn for record in walcore.read(directory, mode="STRICT")] == [1, 2]


def test_without_a_descriptor_left_the_log_says_so_and_keeps_what_it_promised(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = walcore.open(directory, max_segment_bytes=2000)
    wal.commit(wal.log_mint(1, "I", "x"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        wal.log_mint(2, "I", "y" * 3000)
        with pytest.raises(walcore.WalFailedError, match="Too many open files"):
            wal.commit()
        with pytest.raises(OSError, match="Too many open files"):
            list(walcore.read(directory))
        with pytest.raises(walcore.WalFailedError):
            wal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [record.lsn for record in walcore.read(directory)] == [1]
