"""A process without stdin is given descriptor 0 for its first file: it is one like any other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import folders
import logs
import pytest

import walcore
from walcore import system
from walcore.index import IndexState, check_index
from walcore.lock import DirectoryLock
from walcore.seal import seal_segment
from walcore.segments import Directory

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in Linux's /proc")


def opened(folder: Path) -> list[str]:
    """What is open in a folder."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them
            found.append(str(path.readlink()))
    return [name for name in found if name.startswith(str(folder))]


@pytest.fixture
def zero(tmp_path: Path) -> Iterator[None]:
    """Descriptor 0 is free, and nothing is left open at the end."""
    kept = os.dup(0)
    os.close(0)
    try:
        yield
        assert opened(tmp_path) == []
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@pytest.mark.usefixtures("zero")
def test_a_directory_and_what_is_in_it(tmp_path: Path) -> None:
    folders.put(tmp_path, wal_1=folders.plain(1, [1]))
    with Directory(tmp_path) as directory:
        assert directory.fd == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(0)
    above = os.open(tmp_path, os.O_RDONLY)  # what is opened next is 0
    directory = Directory(tmp_path)
    os.close(above)
    (segment,) = directory.segments()
    assert segment.header is not None
    directory.close()
    directory.close()


@pytest.mark.usefixtures("zero")
def test_a_lock_and_one_that_can_not_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, other = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    lock.acquire()
    with pytest.raises(walcore.WalLockedError):
        other.acquire()
    with pytest.raises(RuntimeError):
        lock.acquire()
    lock.release()
    with pytest.raises(walcore.WalLockedError), pytest.MonkeyPatch.context() as patch:
        high = DirectoryLock(tmp_path)
        taken = os.open(os.devnull, os.O_RDONLY)
        high.acquire()
        os.close(taken)  # now the other one gets 0
        try:
            other.acquire()
        finally:
            high.release()
            patch.undo()
    other.acquire()
    other.abandon_in_child()
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError, match="directory"):
        other.acquire()


@pytest.mark.usefixtures("zero")
def test_an_index_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [logs.record(lsn, lsn, os.urandom(20).hex()) for lsn in range(1, 2000)]
    logs.write(tmp_path, "wal-1.v1", logs.plain(records))
    real, free = system.calls.open, []

    def last(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith(".walcore-index.walcore-tmp"):
            os.close(free.pop())
        return real(path, flags, mode, dir_fd=dir_fd)

    with Directory(tmp_path) as directory:
        above = os.dup2(directory.fd, 100)
        os.close(directory.fd)
        directory.fd = above
        free.append(os.open(os.devnull, os.O_RDONLY))
        assert free == [0]
        monkeypatch.setattr(system.calls, "open", last)
        seal_segment(directory, directory.segments()[0])
        assert check_index(directory, "wal-1.v1.gz", pages=True)[0] is IndexState.SOUND
        assert free == []


@pytest.mark.usefixtures("zero")
def test_a_log_from_its_first_record_to_its_last(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        wal.commit(wal.log_mint(1, "I", "urn:1"))
        wal.rotate()
        wal.log_mint(2, "I", "urn:2")
    assert folders.lsns(tmp_path / "wal") == [1, 2]
    assert walcore.find(tmp_path / "wal", 1) is not None
    assert len(walcore.recover(tmp_path / "wal", max_memory=1 << 20).records) == 2
    assert not walcore.repair(tmp_path / "wal").damaged
