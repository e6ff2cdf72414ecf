"""The watched disk's faults: which calls fail, stop short or take long, how often, and that nothing else happens."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import folders
import pytest
from moves import put

import walcore
from walcore.testing import Disk, Fault

CALLS: dict[str, Callable[[Path], object]] = {
    "open": lambda path: os.open(path / "a", os.O_RDONLY),
    "read": lambda path: os.read(os.open(path / "a", os.O_RDONLY), 1),
    "pread": lambda path: os.pread(os.open(path / "a", os.O_RDONLY), 1, 0),
    "preadv": lambda path: os.preadv(os.open(path / "a", os.O_RDONLY), [bytearray(1)], 0),
    "write": lambda path: os.write(os.open(path / "a", os.O_RDWR), b"1"),
    "pwrite": lambda path: os.pwrite(os.open(path / "a", os.O_RDWR), b"1", 0),
    "fsync": lambda path: os.fsync(os.open(path / "a", os.O_RDWR)),
    "fdatasync": lambda path: os.fdatasync(os.open(path / "a", os.O_RDWR)),
    "ftruncate": lambda path: os.ftruncate(os.open(path / "a", os.O_RDWR), 0),
    "lseek": lambda path: os.lseek(os.open(path / "a", os.O_RDWR), 0, 0),
    "fstat": lambda path: os.fstat(os.open(path / "a", os.O_RDWR)),
    "fchmod": lambda path: os.fchmod(os.open(path / "a", os.O_RDWR), 0o600),
    "close": lambda path: os.close(os.open(path / "a", os.O_RDWR)),
    "stat": lambda path: (path / "a").stat(),
    "listdir": lambda path: os.listdir(path),
    "scandir": lambda path: os.scandir(path).close(),
    "fchown": lambda path: os.fchown(os.open(path / "a", os.O_RDWR), -1, -1),
    "rename": lambda path: os.rename(path / "a", path / "b"),
    "replace": lambda path: os.replace(path / "a", path / "b"),
    "link": lambda path: os.link(path / "a", path / "b"),
    "unlink": lambda path: (path / "a").unlink(),
    "remove": lambda path: os.remove(path / "a"),
    "mkdir": lambda path: (path / "b").mkdir(),
    "rmdir": lambda path: (path / "s").rmdir(),
}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_fails_as_it_is_told_and_does_nothing(tmp_path: Path, call: str, error: int) -> None:
    path = tmp_path / "d"
    (path / "s").mkdir(parents=True)
    (path / "a").write_bytes(b"12")
    with Disk(path) as disk:
        fault = disk.fault(call, error)
        with pytest.raises(OSError, match=os.strerror(error)) as caught:
            CALLS[call](path)
        assert (fault.met, caught.value.errno) == (1, error)
        assert (folders.tree(path), fault.met) == ({"a": b"12"}, 1)
        CALLS[call](path)  # once
        for fd in list(disk.descriptors):
            os.close(fd)


def test_faults_are_counted_by_call_family_name_and_number(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        second = disk.fault("sync", errno.EIO, nth=2, times=2)
        named = disk.fault("write", errno.ENOSPC, name="b*", times=None)
        deep = disk.fault("open", errno.EACCES, name="s/?")
        done: list[int] = []
        for name in ("a", "b1", "a", "b2", "a", "a"):
            try:
                put(disk.path / name, b"1", sync=True)
            except OSError as exc:
                done.append(exc.errno)
            else:
                done.append(0)
        assert done == [0, errno.ENOSPC, errno.EIO, errno.ENOSPC, errno.EIO, 0]
        (disk.path / "s").mkdir()
        with pytest.raises(PermissionError):
            put(disk.path / "s" / "a", b"1")
        assert (second.met, named.met, deep.met) == (2, 4, 1)  # closing tries the write again
        assert (disk.count("sync"), disk.count("write", name="b?"), disk.count("fdatasync")) == (4, 4, 0)
        assert disk.count() == len(disk.calls)


def test_writes_and_reads_stop_short(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"0123456789")
        fd = os.open(disk.path / "a", os.O_RDWR)
        room = bytearray(10)
        disk.fault("*", short=3, times=None)
        assert (os.read(fd, 10), os.pread(fd, 10, 5), os.preadv(fd, [room], 1)) == (b"012", b"567", 3)
        assert (os.write(fd, b"abcdef"), os.pwrite(fd, b"xyz!", 8), bytes(room[:3])) == (3, 3, b"123")
        os.close(fd)
    assert folders.tree(disk.path) == {"a": b"012abc67xyz"}


def test_an_interruption_is_seen_by_the_core_only(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fault = disk.fault("*", errno.EINTR, times=1000)
        disk.path.joinpath("a").write_bytes(b"1")
        os.rename(disk.path / "a", disk.path / "b")
        assert fault.met > 3
        disk.faults.clear()
        with walcore.open(disk.path / "wal") as wal:
            lsn = wal.log_mint(1, "I", "urn:a")
            fault = disk.fault("pwrite", errno.EINTR, times=9, name="wal-1.v1")
            wal.commit(lsn)
            assert (fault.met, fault.seen) == (9, 10)
        wal = walcore.open(disk.path / "wal")
        wal.log_mint(2, "I", "urn:b")
        disk.fault("fdatasync", errno.EINTR, name="wal-2.v1")
        with pytest.raises(walcore.WalFailedError):
            wal.commit()
        with pytest.raises(walcore.WalFailedError):
            wal.close()


def test_a_slow_disk_is_slow_for_the_calls_named(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        slow = disk.slow(0.02, name="a")
        began = time.monotonic()
        put(disk.path / "b", b"1", sync=True)
        put(disk.path / "a", b"1", sync=True)
        assert time.monotonic() - began >= 0.02
        assert slow.met == 1


def test_chance_is_drawn_by_the_seed(tmp_path: Path) -> None:
    def run(name: str, seed: int) -> list[int]:
        done = []
        with Disk(tmp_path / name, seed=seed) as disk:
            disk.fault("write", errno.EIO, chance=0.5, times=None)
            for _ in range(64):
                try:
                    put(disk.path / "a", b"1")
                except OSError:
                    done.append(1)
                else:
                    done.append(0)
        return done

    assert run("a", 1) == run("b", 1) != run("c", 2)
    assert 10 < sum(run("d", 3)) < 54


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"call": "sendfile", "error": 5}, "no call is named"),
        ({"call": "write", "error": errno.EINTR, "times": None}, "for ever"),
        ({"call": "write"}, "needs an error"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Disk(tmp_path).fault(**wrong)  # type: ignore[arg-type]


def test_a_rule_made_by_hand_is_the_disks_own(tmp_path: Path) -> None:
    assert Disk(tmp_path).fault("write", errno.EIO) == Fault(call="write", error=errno.EIO)
    assert Disk(tmp_path).slow(0.5) == Fault(call="sync", delay=0.5, times=None)
