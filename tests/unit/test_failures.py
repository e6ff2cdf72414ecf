"""What a log does when it can't write: who is told what, what stays logged, what goes on."""

from __future__ import annotations

import errno
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from folders import lsns

import walcore
from walcore import segments
from walcore.system import calls
from walcore.testing import Disk

LIMIT = resource.RLIMIT_FSIZE


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes stop short at `size` bytes of a file and then fail with EFBIG, which is no full disk."""
    old = resource.getrlimit(LIMIT)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(LIMIT, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(LIMIT, old)
        signal.signal(signal.SIGXFSZ, before)


@contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC) -> Iterator[None]:
    """No segment can be begun."""

    def create(*_: object) -> None:
        raise OSError(number, "no room", "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(segments.Directory, "create_segment", create)
        yield


def in_threads(count: int, work: Callable[[], object]) -> list[BaseException | None]:
    """What each of `count` threads ended with; that one of them hangs fails the test."""
    ends: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            ends.append(error)
        else:
            ends.append(None)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "it hangs"
    return ends


@pytest.mark.parametrize("policy", ["COMMIT", "ALWAYS", "INTERVAL"])
def test_a_failed_write_fails_the_log_for_good_and_everybody_is_told(tmp_path: Path, policy: str) -> None:
    wal = walcore.open(tmp_path / "wal", sync_policy=policy, batch_buffer_bytes=5000, sync_interval=0.01)
    first = wal.log_mint(1, "I", "x")
    wal.await_durable(first)

    def work() -> None:
        while True:
            lsn = wal.log_mint(2, "I", "y" * 300)
            wal.await_durable(lsn)

    with file_size_limit(20_000):
        ends = in_threads(8, work)
        assert [type(end) for end in ends] == [walcore.WalFailedError] * 8
    for end in ends:
        assert isinstance(end, walcore.WalFailedError)
        assert (end.call, end.path) == ("write", str(wal.path / "wal-1.v1"))
        assert isinstance(end.__cause__, OSError)
        assert end.__cause__.errno == errno.EFBIG
        assert "write of " in str(end)
        assert "File too large" in str(end)
        assert end.durable_lsn == wal.durable_lsn
    durable = wal.durable_lsn
    assert wal.stats().state == "failed"
    for call in (wal.rotate, wal.purge_all_segments, lambda: wal.log_mint(1, "I", "x"), wal.commit):
        with pytest.raises(walcore.WalFailedError):
            call()
    wal.await_durable(durable)
    with pytest.raises(walcore.WalFailedError):
        wal.close()
    wal.close()
    assert wal.is_closed
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.last_lsn >= durable
        assert set(range(1, durable + 1)) <= set(lsns(tmp_path / "wal"))


def test_producers_without_room_are_released_when_the_writer_fails(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal", batch_buffer_bytes=5000)
    wal.commit(wal.log_mint(1, "I", "x"))

    def produce() -> None:
        while True:
            wal.log_mint(2, "I", "y" * 300)

    with file_size_limit(8000):
        ends = in_threads(16, produce)
    assert {type(end) for end in ends} == {walcore.WalFailedError}
    with suppress(walcore.WalFailedError):
        wal.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_that_gets_room_again_goes_on_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    wal = walcore.open(tmp_path / "wal", batch_buffer_bytes=5000, max_segment_bytes=4000)
    wal.commit(wal.log_mint(1, "I", "x"))
    lock = threading.Lock()
    logged: list[int] = []

    def produce() -> None:
        while True:
            lsn = wal.log_mint(2, "I", "y" * 300)
            with lock:
                logged.append(lsn)

    with no_room(monkeypatch, number):
        ends = in_threads(8, produce)
        assert {type(end) for end in ends} == {walcore.WalFullError}
        assert all(isinstance(end.__cause__, OSError) and end.__cause__.errno == number for end in ends if end)
        with pytest.raises(walcore.WalFullError, match="free some room"):
            wal.commit()
        with pytest.raises(walcore.WalFullError):
            wal.await_durable(wal.last_lsn, timeout=5)
        with pytest.raises(walcore.WalFullError):
            wal.rotate()
        assert wal.stats().state == "open"
    assert wal.commit() == wal.last_lsn >= max(logged)
    later = wal.log_mint(3, "I", "z")
    wal.commit(later)
    wal.close()
    assert lsns(tmp_path / "wal") == list(range(1, later + 1))


def test_close_on_a_full_disk_keeps_the_lock_and_can_be_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = walcore.open(tmp_path / "wal")
    lsn = wal.log_mint(1, "I", "x")
    with no_room(monkeypatch):
        for _ in range(2):
            with pytest.raises(walcore.WalFullError):
                wal.close()
            assert not wal.is_closed
        with pytest.raises(walcore.WalLockedError):
            walcore.open(tmp_path / "wal")
        with pytest.raises(walcore.WalClosedError):
            wal.log_mint(1, "I", "x")
    wal.close()
    assert wal.is_closed
    assert lsns(tmp_path / "wal") == [lsn]


@pytest.mark.parametrize("policy", ["COMMIT", "INTERVAL"])
def test_under_a_full_disk_nobody_spins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    wal = walcore.open(tmp_path / "wal", sync_policy=policy, sync_interval=0.1)
    wal.log_mint(1, "I", "x")
    with no_room(monkeypatch):
        with pytest.raises(walcore.WalFullError):
            wal.await_durable(1)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.1
    if policy == "INTERVAL":
        deadline = time.monotonic() + 5
        while wal.durable_lsn < 1:  # nobody asks: the interval tries again
            assert time.monotonic() < deadline
            time.sleep(0.01)
    wal.close()


def test_a_segment_that_cannot_be_made_fails_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path / "wal", max_segment_bytes=2000)
    wal.commit(wal.log_mint(1, "I", "x"))
    with no_room(monkeypatch, errno.EACCES):
        wal.log_mint(2, "I", "y" * 3000)
        ends = in_threads(4, wal.commit)
    assert {type(end) for end in ends} == {walcore.WalFailedError}
    assert "Permission denied" in str(ends[0]) or "no room" in str(ends[0])
    with pytest.raises(walcore.WalFailedError):
        wal.close()
    assert lsns(tmp_path / "wal") == [1]


def test_a_file_deleted_under_the_log_is_no_promise(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.commit(wal.log_mint(1, "I", "x"))
    (tmp_path / "wal" / "wal-1.v1").unlink()
    wal.log_mint(2, "I", "x")
    with pytest.raises(walcore.WalFailedError, match="No such file"):
        wal.commit()
    with pytest.raises(walcore.WalFailedError):
        wal.close()


def test_a_purge_that_cannot_begin_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        wal.commit(wal.log_mint(1, "I", "x"))
        wal.log_mint(2, "I", "y")

        def refuse(*_: object) -> None:
            raise OSError(errno.EIO, "broken")

        with monkeypatch.context() as patch:
            patch.setattr(segments.Directory, "write_marker", refuse)
            with pytest.raises(OSError, match="broken"):
                wal.purge_all_segments()
        wal.commit(wal.log_mint(3, "I", "z"))
        assert lsns(tmp_path / "wal") == [1, 2, 3]
        wal.purge_all_segments()
        assert wal.log_mint(4, "I", "z") == 4
    assert lsns(tmp_path / "wal") == [4]


def test_a_purge_in_doubt_hangs_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.commit(wal.log_mint(1, "I", "x"))
    real = segments.Directory.write_marker

    def doubtful(self: Any, marker: Any) -> None:
        real(self, marker)
        error = OSError(errno.ENOSPC, "no room", str(tmp_path))
        error.call = "fsync"  # type: ignore[attr-defined]
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(segments.Directory, "write_marker", doubtful)
        assert isinstance(in_threads(1, wal.purge_all_segments)[0], walcore.WalFailedError)
    assert isinstance(in_threads(1, lambda: wal.log_mint(2, "I", "y"))[0], walcore.WalFailedError)
    with pytest.raises(walcore.WalFailedError):
        wal.close()
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.log_mint(2, "I", "y") == 2


def test_a_failed_sync_of_the_folder_counts_for_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells one of them only: here the sealer, who would go on."""
    sync, failed = calls.fsync, threading.Event()

    def fail_once(fd: int) -> None:
        if threading.current_thread().name == "walcore-sealer" and not failed.is_set():
            failed.set()
            raise OSError(errno.EIO, "lost")
        sync(fd)

    monkeypatch.setattr(calls, "fsync", fail_once)
    wal = walcore.open(tmp_path / "wal")
    wal.log_mint(1, "I", "x")
    wal.rotate()
    assert failed.wait(10)
    lsn = wal.log_mint(2, "I", "y")
    with pytest.raises(walcore.WalFailedError, match=r"fsync of .*wal failed") as caught:
        wal.commit(lsn)
    assert caught.value.durable_lsn == 1
    with pytest.raises(walcore.WalFailedError):
        wal.close()
    with walcore.open(tmp_path / "wal") as wal:
        wal.commit(wal.log_mint(3, "I", "z"))


def test_a_failed_seal_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("walcore.seal.seal_segment", broken)
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint(1, "I", "x")
        wal.rotate()
        deadline = time.monotonic() + 5
        while not wal.stats().seal_failures:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert "broken" in wal.stats().seal_failures[0]
        wal.commit(wal.log_mint(2, "I", "y"))
    monkeypatch.undo()
    with walcore.open(tmp_path / "wal") as wal:
        assert len(wal.opening.to_seal) == 2
    assert lsns(tmp_path / "wal") == [1, 2]
    assert len(list((tmp_path / "wal").glob("*.gz"))) == 2


def test_a_listener_that_raises_is_nobodys_problem(tmp_path: Path) -> None:
    told: list[Path] = []

    def listener(path: Path) -> None:
        told.append(path)
        sys.exit(3)

    with walcore.open(tmp_path / "wal", on_force=listener) as wal:
        wal.commit(wal.log_mint(1, "I", "x"))
        wal.rotate()
        wal.commit(wal.log_mint(2, "I", "y"))
    assert told[0].name == "wal-1.v1"
    assert lsns(tmp_path / "wal") == [1, 2]


def test_a_failed_log_closes_though_closing_its_file_fails(tmp_path: Path) -> None:
    with Disk(tmp_path / "wal") as disk:
        log = walcore.open(tmp_path / "wal")
        log.commit(log.log_mint(1, "I", "urn:1"))
        disk.fault("fdatasync", errno.EIO, name="wal-1.v1")
        with pytest.raises(walcore.WalFailedError):
            log.commit(log.log_mint(2, "I", "urn:2"))
        disk.fault("close", errno.EIO, name="wal-1.v1")
        with pytest.raises(walcore.WalFailedError, match="fdatasync"):
            log.close()
        assert log.is_closed


def test_a_purge_goes_on_though_closing_the_file_that_it_deletes_fails(tmp_path: Path) -> None:
    with Disk(tmp_path / "wal") as disk:
        with walcore.open(tmp_path / "wal") as log:
            log.log_mint(1, "I", "urn:1")
            log.flush()
            closing = disk.fault("close", errno.EIO, nth=2, name="wal-1.v1")  # the first was opened for its header
            log.purge_all_segments()
            assert closing.met == 1
            log.commit(log.log_mint(2, "I", "urn:2"))
        assert [record.lsn for record in walcore.read(tmp_path / "wal")] == [2]


def test_a_log_is_closed_though_closing_its_lock_fails(tmp_path: Path) -> None:
    with Disk(tmp_path / "wal") as disk:
        log = walcore.open(tmp_path / "wal")
        disk.fault("close", errno.EIO, name="lock")
        log.close()
        assert log.is_closed
        walcore.open(tmp_path / "wal").close()
