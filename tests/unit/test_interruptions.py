"""Exceptions, signals and finalizers at the worst moment: nobody is left waiting, and nothing is lost twice."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import oracle
import pytest

import walcore
from walcore import system
from walcore.live import Tail
from walcore.lock import DirectoryLock


@pytest.fixture(autouse=True)
def _watchdog() -> Iterator[None]:
    """A hang is a failure that names the line, not a run that never ends."""

    def bark(signum: int, frame: Any) -> None:
        raise TimeoutError(frame)

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("more", [True, False], ids=["works", "closes"])
def test_ctrl_c_while_the_writer_thread_starts_leaves_a_log_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    wal = walcore.open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            wal.log_mint(1, "I", "a")
    if more:
        assert wal.commit(wal.log_mint(2, "I", "b")) == 1
    wal.close()
    walcore.open(tmp_path).close()


def test_a_writer_that_dies_at_birth_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "run", lambda self: None)
        with pytest.raises(MemoryError, match="before its first call"):
            wal.log_mint(1, "I", "a")
    assert wal.commit(wal.log_mint(2, "I", "b")) == 1
    wal.close()


def test_a_start_that_fails_late_gives_back_the_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()

    def start_loop(self: Tail) -> None:
        began.set()
        time.sleep(0.2)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Tail, "start_loop", start_loop)
    wal = walcore.open(tmp_path)
    first = threading.Thread(target=lambda: wal.commit(wal.log_mint(1, "I", "a")), daemon=True)
    first.start()
    began.wait()
    wal.commit(wal.log_mint(2, "I", "b"))
    first.join(10)
    assert not first.is_alive()
    assert wal.durable_lsn == 2
    wal.close()


@pytest.mark.parametrize("threads", [True, False])
def test_a_refused_purge_is_told_with_and_without_a_writer_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: bool
) -> None:
    def no_thread(self: Tail) -> None:
        raise RuntimeError("can't start new thread")

    if not threads:
        monkeypatch.setattr(Tail, "start_loop", no_thread)
    with walcore.open(tmp_path) as wal:
        wal.commit(wal.log_mint(1, "I", "a"))
        with monkeypatch.context() as patch:
            patch.setattr(system.calls, "rename", lambda *a, **k: (_ for _ in ()).throw(OSError(errno.EACCES, "no")))
            for _ in range(2):
                with pytest.raises(OSError, match="no"):
                    wal.purge_all_segments()
        wal.commit(wal.log_mint(2, "I", "b"))
        wal.purge_all_segments()
    assert list(walcore.read(tmp_path)) == []


def test_an_exception_behind_the_markers_rename_fails_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def rename(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise MemoryError

    wal = walcore.open(tmp_path)
    wal.commit(wal.log_mint(1, "I", "a"))
    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "rename", rename)
        with pytest.raises(walcore.WalFailedError):
            wal.purge_all_segments()
    with pytest.raises(walcore.WalFailedError):
        wal.commit(wal.log_mint(2, "I", "b"))
    with pytest.raises(walcore.WalFailedError, match="MemoryError"):
        wal.close()


def test_a_close_cut_off_at_its_end_can_be_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path)
    wal.commit(wal.log_mint(1, "I", "a"))
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryLock, "release", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            wal.close()
    wal.close()
    assert wal.is_closed
    walcore.open(tmp_path).close()


@pytest.mark.parametrize("call", ["commit", "close", "rotate"])
def test_a_finalizer_on_the_writers_own_thread_is_refused_not_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    heard: list[str] = []
    wal = walcore.open(tmp_path)
    wal.commit(wal.log_mint(1, "I", "a"))

    class Knot:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            try:
                getattr(wal, call)()
            except walcore.WalError as error:
                heard.append(f"{threading.current_thread().name}: {error}")

    gc.collect()
    gc.disable()
    real = Tail.begin

    def begin(self: Tail, *arguments: int) -> tuple[int, int]:
        gc.collect()
        return real(self, *arguments)

    monkeypatch.setattr(Tail, "begin", begin)
    wal.rotate()
    Knot()
    lsn = wal.log_mint(2, "I", "b")
    try:
        wal.await_durable(lsn)
    finally:
        gc.enable()
    assert len(heard) == 1
    assert heard[0].startswith("walcore-writer: this thread is writing the log")
    wal.close()
    assert [record.lsn for record in walcore.read(tmp_path)] == [1, 2]


def test_a_signal_handler_may_commit_whatever_it_interrupts(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path, on_force=lambda path: None)
    logged = 0

    def handler(signum: int, frame: Any) -> None:
        nonlocal logged
        wal.commit(wal.log_mint(2, "I", "handler"))
        logged += 1
        if logged < 300:
            signal.setitimer(signal.ITIMER_REAL, 0.0011)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while logged < 300:
        wal.commit(wal.log_mint(1, "I", "loop"))
    wal.close()
    assert sum(record.lexical == "handler" for record in walcore.read(tmp_path)) == 300


def test_no_ctrl_c_is_swallowed(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path, on_force=lambda path: None)
    sent = caught = 0

    def handler(signum: int, frame: Any) -> None:
        nonlocal sent
        sent += 1
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, handler)
    while caught < 200:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0007)
            while sent == caught:
                wal.commit(wal.log_mint(1, "I", "x"))
            raise AssertionError("swallowed")
        except KeyboardInterrupt:
            caught += 1
    wal.close()


def test_close_may_race_the_first_record(tmp_path: Path) -> None:
    for round_number in range(60):
        wal = walcore.open(tmp_path / str(round_number))

        def first(wal: walcore.Wal = wal) -> None:
            with suppress(walcore.WalClosedError):
                wal.log_mint(1, "I", "a")

        thread = threading.Thread(target=first)
        thread.start()
        wal.close()
        thread.join()


def test_no_room_for_closing_a_synced_file_is_no_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path, max_segment_bytes=1024)
    wal.commit(wal.log_mint(1, "I", "a"))
    current, real = wal._live.tail.current, os.close
    assert current is not None
    closed = []

    def close(fd: int) -> None:
        real(fd)
        if fd == current.fd and not closed:  # its number may soon be another file's
            closed.append(fd)
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "close", close)
        wal.commit(wal.log_mint(2, "I", "x" * 1000))
    assert closed
    wal.close()
    reader = walcore.read(tmp_path, mode="STRICT")
    assert [record.lsn for record in reader] == [1, 2]


def test_the_last_lsn_and_the_last_number_are_refused_with_a_word(tmp_path: Path) -> None:
    store = str(uuid.uuid4())
    (tmp_path / "lsn").mkdir()
    frame = oracle.mint_frame(2**63 - 2, 1, "I", "a")
    (tmp_path / "lsn" / "wal-1.v1").write_bytes(oracle.header_frame(store, 1, 1, 1) + frame)
    with walcore.open(tmp_path / "lsn") as wal, pytest.raises(walcore.WalFullError, match="used up"):
        wal.log_mint(1, "I", "b")
    (tmp_path / "number").mkdir()
    frame = oracle.mint_frame(1, 1, "I", "a")
    (tmp_path / "number" / "wal-1.v1").write_bytes(oracle.header_frame(store, 1, 2**31 - 1, 1) + frame)
    with pytest.raises(walcore.WalError, match="2147483647"):
        walcore.open(tmp_path / "number")


def test_a_row_that_is_none_is_refused(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        with pytest.raises(TypeError, match="row 1"):
            wal.log_mint_many([(1, "I", "a"), None, (2, "I", "b")])  # type: ignore[list-item]
        assert wal.last_lsn == 0


def test_who_is_interrupted_as_he_gets_the_lead_passes_it_on(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    done: list[int] = []

    def work() -> None:
        done.extend(wal.commit(wal.log_mint(1, "I", "x")) for _ in range(150))

    end = time.monotonic() + 60

    def handler(*_: object) -> None:
        if time.monotonic() > end:
            raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, handler)
    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "it hangs"
    assert len(done) == 600
    wal.close()
