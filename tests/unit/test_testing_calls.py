"""The watched disk's calls are the system's: what they return, whom they tell, and what they leave in the journal."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import folders
import pytest
from moves import put, settle, sync_folder

from walcore.system import calls
from walcore.testing import Disk
from walcore.testing.disk import PowerOffError
from walcore.testing.journal import Node, Past, Sync, Write

DATA = bytes(range(250)) * 20


@pytest.mark.parametrize("way", ["in", "out", "within"])
@pytest.mark.parametrize("offset", [None, 7])
def test_sendfile_is_seen_whichever_of_its_ends_is_watched(tmp_path: Path, way: str, offset: int | None) -> None:
    with Disk(tmp_path / "d") as disk:
        source = (tmp_path if way == "in" else disk.path) / "source"
        target = (tmp_path if way == "out" else disk.path) / "target"
        put(source, DATA)
        ours, theirs = os.open(source, os.O_RDONLY), os.open(target, os.O_WRONLY | os.O_CREAT)
        if way != "in":
            disk.fault("read", errno.EIO)
            with pytest.raises(OSError, match="Input/output"):
                os.sendfile(theirs, ours, offset, len(DATA))
        if way != "out":
            disk.fault("write", errno.ENOSPC)
            with pytest.raises(OSError, match="No space"):
                os.sendfile(theirs, ours, offset, len(DATA))
            os.lseek(ours, 0, os.SEEK_SET)
        start = offset or 0
        assert os.sendfile(theirs, ours, offset, len(DATA)) == len(DATA) - start
        assert os.sendfile(theirs, ours, len(DATA), 10) == 0
        os.close(ours)
        os.close(theirs)
    assert target.read_bytes() == DATA[start:]


def test_files_elsewhere_are_sent_cut_and_opened_up_as_ever(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        disk.fault("*", errno.EIO, times=None)
        put(tmp_path / "source", DATA)
        ours, theirs = os.open(tmp_path / "source", os.O_RDWR), os.open(tmp_path / "target", os.O_WRONLY | os.O_CREAT)
        assert os.sendfile(theirs, ours, 7, len(DATA)) == len(DATA) - 7
        os.ftruncate(ours, 3)
        os.fchmod(ours, 0o604)
        os.close(ours)
        os.close(theirs)
        assert (disk.journal, disk.calls) == ([], [])
        disk.faults.clear()
    assert (tmp_path / "target").read_bytes() == DATA[7:]
    assert (tmp_path / "source").read_bytes() == DATA[:3]
    assert stat.S_IMODE((tmp_path / "source").stat().st_mode) == 0o604


def test_only_the_core_meets_an_interruption_whatever_is_called(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fault = disk.fault("*", errno.EINTR, times=1000)
        fd = os.open(disk.path / "a", os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"1234", 0)
        os.ftruncate(fd, 2)
        os.fdatasync(fd)
        os.fsync(fd)
        os.close(fd)
        assert fault.met == len(disk.calls) > 4
        fd = os.open(disk.path / "a", os.O_RDWR)
        core = calls.core
        assert core is not None
        for call in (
            lambda: core.pwrite(fd, b"1", 0),
            lambda: core.fdatasync(fd),
            lambda: core.ftruncate(fd, 1),
            lambda: core.allocate(fd, 9),
        ):
            with pytest.raises(InterruptedError):
                call()
        os.close(fd)
    assert folders.tree(disk.path) == {"a": b"12"}


def test_a_power_cut_keeps_the_permissions(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        (disk.path / "s").mkdir(0o750)
        settle(disk.path / "s" / "a", b"1")
        (disk.path / "s" / "a").chmod(0o640)
        fd = os.open(disk.path / "b", os.O_WRONLY | os.O_CREAT, 0o604)
        os.fchmod(fd, 0o444)
        os.fsync(fd)
        os.close(fd)
        os.close(os.open(disk.path / "c", os.O_WRONLY | os.O_CREAT, 0o600))
        sync_folder(disk.path)
        cut = disk.power_cut(tmp_path / "cut")
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cut.path.rglob("*")}
    assert (found["s"], found["b"], found["c"]) == (0o750, 0o444, 0o600)


def test_a_descriptor_closed_unseen_is_none(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        for call in (os.fsync, os.fdatasync, os.close, lambda fd: os.write(fd, b"1"), lambda fd: os.ftruncate(fd, 0)):
            fd = os.open(disk.path / "a", os.O_WRONLY | os.O_CREAT)
            os.closerange(fd, fd + 1)  # not seen
            done = len(disk.journal), len(disk.calls)
            with pytest.raises(OSError, match="Bad file descriptor"):
                call(fd)
            assert (len(disk.journal), len(disk.calls)) == done


def test_without_power_a_descriptor_still_tells_what_it_is_and_gives_its_lock_back(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fd = os.open(disk.path / "a", os.O_RDWR | os.O_CREAT)
        disk.crash()
        assert not stat.S_ISREG(os.fstat(fd).st_mode)
        assert calls.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        calls.lockf(fd, fcntl.LOCK_UN)
        for call in (os.fsync, lambda fd: os.read(fd, 1), lambda fd: os.pread(fd, 1, 0), lambda fd: os.write(fd, b"1")):
            with pytest.raises(PowerOffError) as caught:
                call(fd)
            assert (caught.value.errno, caught.value.filename) == (errno.EIO, "a")
        os.close(fd)


def test_a_lock_that_fails_is_met_by_walcore(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fd = os.open(disk.path / "a", os.O_RDWR | os.O_CREAT)
        fault = disk.fault("lock", errno.ENOLCK, times=2)
        with pytest.raises(OSError, match="No locks"):
            calls.fcntl(fd, fcntl.F_GETFL)
        with pytest.raises(OSError, match="No locks"):
            calls.lockf(fd, fcntl.LOCK_SH)
        calls.lockf(fd, fcntl.LOCK_SH, 1)
        assert fault.met == 2
        os.close(fd)


def test_a_rule_without_a_delay_takes_no_time_and_one_without_a_chance_is_always_met(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        short = disk.fault("write", short=1, times=None)
        slow = disk.fault("write", delay=0.001, times=3)
        for _ in range(20):
            put(disk.path / "a", b"12")
        assert slow.met == 3
        assert short.met == short.seen >= 40


@pytest.mark.parametrize(("upto", "kept"), [(1, True), (2, False)])
def test_a_sync_keeps_what_another_failed_for_only_if_it_was_under_way_then(upto: int, kept: bool) -> None:
    """The write is step 0, the sync that fails step 1: one that has begun by then is for as many steps, or fewer."""
    node = Node("a", 0o600, is_folder=False)
    past = Past(node)
    for step in (Write(node, 0, b"1"), Sync(node, 1, kept=False), Sync(node, upto, kept=True)):
        past.take(step)
    assert past.of(node).content == (b"1" if kept else b"")
    past.take(Write(node, 0, b"2"))
    past.take(Sync(node, 4, kept=True))
    past.take(Sync(node, 5, kept=True))
    assert past.of(node).content == b"2"


def test_what_a_sync_has_kept_is_not_kept_again_over_what_came_later() -> None:
    node = Node("a", 0o600, is_folder=False)
    past = Past(node)
    for step in (
        Write(node, 0, b"1"),
        Sync(node, 1, kept=False),
        Sync(node, 1, kept=True),
        Write(node, 0, b"2"),
        Sync(node, 4, kept=True),
        Sync(node, 1, kept=True),  # the slowest of those that were under way
    ):
        past.take(step)
    assert past.of(node).content == b"2"


def test_a_size_can_reach_the_disk_without_the_data(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"1" * 100)
        fd = os.open(disk.path / "a", os.O_RDWR)
        os.pwrite(fd, b"2" * 10, 5000)
        os.pwrite(fd, b"3" * 10, 50)
        os.close(fd)
        cut = disk.power_cut(tmp_path / "cut", seed=4)
    assert (cut.path / "a").read_bytes() == b"1" * 100 + bytes(4910)


@pytest.mark.parametrize("mode", ["r", "r+", "w", "w+", "a", "a+", "x", "x+"])
@pytest.mark.parametrize("there", [True, False])
def test_a_file_is_made_or_not_as_the_builtin_does(tmp_path: Path, mode: str, there: bool) -> None:
    def use(folder: Path) -> tuple[str, dict[str, bytes]]:
        folder.mkdir(exist_ok=True)
        if there:
            (folder / "a").write_bytes(b"before")
        try:
            with (folder / "a").open(mode) as file:
                told = file.read() if "r" in mode else str(file.write("now"))
        except OSError as error:
            told = type(error).__name__
        return told, folders.tree(folder)

    with Disk(tmp_path / "d") as disk:
        watched = use(disk.path)
    assert watched == use(tmp_path / "e")
