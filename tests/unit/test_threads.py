"""Waits that are cut off, and a log in a process where no thread may start."""

from __future__ import annotations

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
from together import together

import walcore
from walcore import live, seal, segments

SMALL: dict[str, Any] = {"batch_buffer_bytes": 5000, "max_segment_bytes": 4000, "sync_interval": 0.005}


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The writer can't begin a segment until what this gives is called."""
    gate = threading.Event()
    real = segments.Directory.create_segment

    def create(self: Any, *args: Any) -> Any:
        gate.wait(20)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(segments.Directory, "create_segment", create)
        yield gate.set
        gate.set()


@contextmanager
def interrupted_after(
    seconds: float, handler: Callable[[int, Any], None] = signal.default_int_handler
) -> Iterator[None]:
    """Ctrl-C comes to the main thread; what is asked for doesn't last for ever."""
    before = signal.signal(signal.SIGINT, handler)
    timer = threading.Timer(seconds, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_waits_end_when_their_time_is_over_and_the_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = walcore.open(tmp_path / "wal")
    with held_up(monkeypatch) as let_go:
        lsn = wal.log_mint(1, "I", "x")
        for timeout in (0, 0.05):
            began = time.monotonic()
            with pytest.raises(walcore.WalTimeoutError) as caught:
                wal.await_durable(lsn, timeout=timeout)
            assert time.monotonic() - began >= timeout
            assert caught.value.durable_lsn == 0
        with pytest.raises(walcore.WalTimeoutError, match="LSN 1 to 1 are not on disk"):
            wal.close(timeout=0.05)
        assert not wal.is_closed
        let_go()
        wal.close()
    assert lsns(tmp_path / "wal") == [1]


def test_who_closes_waits_for_whoever_is_closing(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.log_mint(1, "I", "x")
    second = threading.Thread(target=wal.close)
    with wal._live._closing:
        second.start()
        second.join(0.1)
        assert second.is_alive()
        assert not wal.is_closed
    second.join(10)
    assert wal.is_closed


def closing_is_late(wal: walcore.Wal, why: str) -> None:
    """`close` waits as long as it was told to, says what it waits for, and leaves the log to a later one."""
    began = time.monotonic()
    with pytest.raises(walcore.WalTimeoutError, match=f"was not closed in time: {why}; it keeps its lock") as caught:
        wal.close(timeout=0.05)
    assert time.monotonic() - began >= 0.05
    assert caught.value.durable_lsn == wal.durable_lsn
    assert not wal.is_closed
    with pytest.raises(walcore.WalLockedError):
        walcore.open(wal.path)


def test_who_waits_for_whoever_is_closing_may_run_out_of_time(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.log_mint(1, "I", "x")
    with wal._live._closing:
        ends: list[BaseException | None] = []

        def wait() -> None:
            try:
                closing_is_late(wal, "another thread is closing it")
            except BaseException as error:
                ends.append(error)
            else:
                ends.append(None)

        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join(10)
    assert ends == [None]
    wal.close()
    assert lsns(tmp_path / "wal") == [1]


def test_a_writer_that_has_all_on_disk_and_is_still_at_work_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    synced = live.Tail.synced
    monkeypatch.setattr(live.Tail, "synced", lambda self: (self.core.durable_lsn and gate.wait(20), synced(self)))
    wal = walcore.open(tmp_path / "wal", sync_policy="INTERVAL", sync_interval=0.001, on_force=lambda _: None)
    wal.await_durable(wal.log_mint(1, "I", "x"), timeout=20)  # by the writer's own thread
    closing_is_late(wal, "the writer is still at work")
    gate.set()
    wal.close()
    assert lsns(tmp_path / "wal") == [1]
    with walcore.open(tmp_path / "wal") as again:
        assert again.opening.clean


def test_a_seal_under_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    seal_segment = seal.seal_segment
    monkeypatch.setattr(seal, "seal_segment", lambda *args: (gate.wait(20), seal_segment(*args))[1])
    wal = walcore.open(tmp_path / "wal")
    for id in (1, 2):
        wal.log_mint(id, "I", "x")
        wal.rotate()
    closing_is_late(wal, "2 segments are not sealed")
    gate.set()
    wal.close()
    assert [segment.sealed for segment in segments.list_segments(tmp_path / "wal")] == [True, True]


def test_what_is_left_of_the_time_to_close_gets_less(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("walcore.live.time.monotonic", lambda: now)
    deadline = live._deadline(5)
    assert live._left(deadline) == 5
    now = 1002.0
    assert live._left(deadline) == 3
    now = 1006.0
    assert live._left(deadline) == 0
    assert live._left(live._deadline(None)) is None
    assert live._left(live._deadline(1e300)) == live._LONG


@pytest.mark.parametrize("name", ["commit", "await_durable", "rotate", "purge_all_segments", "flush", "close"])
def test_ctrl_c_ends_the_wait_and_not_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    wal = walcore.open(tmp_path / "wal")
    with held_up(monkeypatch) as let_go:
        lsn = wal.log_mint(1, "I", "x")
        with pytest.raises(walcore.WalTimeoutError):
            wal.await_durable(lsn, timeout=0.02)  # now the loop is at it
        call = getattr(wal, name)
        arguments = (lsn,) if name == "await_durable" else ()
        with interrupted_after(0.1), pytest.raises(KeyboardInterrupt):
            call(*arguments)
        let_go()
        if name != "close":
            wal.await_durable(lsn)
            assert wal.log_mint(2, "I", "y") == 2
    wal.close()
    # The purge takes its place when it is its turn, which may be after the second record.
    left = {"close": ([1],), "purge_all_segments": ([2], [])}.get(name, ([1, 2],))
    assert lsns(tmp_path / "wal") in left


def test_a_signal_whose_handler_returns_ends_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with walcore.open(tmp_path / "wal") as wal, held_up(monkeypatch) as let_go:
        lsn = wal.log_mint(1, "I", "x")
        came: list[int] = []

        def handler(number: int, _: object) -> None:
            came.append(number)
            threading.Timer(0.05, let_go).start()

        with interrupted_after(0.05, handler):
            wal.commit(lsn)
        assert came
        assert wal.durable_lsn == lsn


def test_ctrl_c_ends_the_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path / "wal", **SMALL)
    with held_up(monkeypatch):
        with interrupted_after(0.1), pytest.raises(KeyboardInterrupt):
            while True:
                wal.log_mint(1, "I", "x" * 300)
        last = wal.last_lsn
    assert wal.log_mint(1, "I", "x") == last + 1
    wal.close()
    assert lsns(tmp_path / "wal") == list(range(1, last + 2))


def test_a_producer_without_room_is_told_that_the_log_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = walcore.open(tmp_path / "wal", **SMALL)
    ends: list[type[BaseException]] = []

    def produce() -> None:
        try:
            while True:
                wal.log_mint(1, "I", "x" * 300)
        except walcore.WalError as error:
            ends.append(type(error))

    with held_up(monkeypatch) as let_go:
        threads = [threading.Thread(target=produce, daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        assert not ends
        closer = threading.Thread(target=wal.close)
        closer.start()
        for thread in threads:
            thread.join(5)  # before anything was written
        assert ends == [walcore.WalClosedError] * 6
        let_go()
        closer.join(5)
    assert lsns(tmp_path / "wal") == list(range(1, wal.last_lsn + 1))


def test_who_waited_before_close_is_served_and_who_comes_after_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = walcore.open(tmp_path / "wal")
    served: list[int] = []
    with held_up(monkeypatch) as let_go:
        lsn = wal.log_mint(1, "I", "x")
        waiter = threading.Thread(target=lambda: served.append(wal.commit(lsn)))
        waiter.start()
        time.sleep(0.05)
        closer = threading.Thread(target=wal.close)
        closer.start()
        time.sleep(0.05)
        for call in (wal.commit, wal.rotate, wal.purge_all_segments, lambda: wal.await_durable(lsn)):
            with pytest.raises(walcore.WalClosedError):
                call()
        let_go()
        waiter.join(5)
        closer.join(5)
    assert served == [lsn]
    wal.await_durable(lsn)  # it is on disk, whatever became of the log


def test_a_full_buffer_and_no_patience_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = walcore.open(tmp_path / "wal", buffer_timeout=0.05, **SMALL)
    with held_up(monkeypatch):
        with pytest.raises(walcore.WalFullError, match="buffer_timeout"):
            while True:
                wal.log_mint(1, "I", "x" * 300)
        last = wal.last_lsn
    wal.close()
    assert lsns(tmp_path / "wal") == list(range(1, last + 1))


def test_the_interval_syncs_without_being_asked(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal", sync_policy="INTERVAL", sync_interval=0.1) as wal:
        for _ in range(3):
            lsn = wal.log_mint(1, "I", "x")
            assert wal.commit(lsn) < lsn, "commit doesn't wait under INTERVAL"
            deadline = time.monotonic() + 5
            while wal.durable_lsn < lsn:
                assert time.monotonic() < deadline
                time.sleep(0.005)


@pytest.fixture(params=["start", "__init__"])
def threadless(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No thread starts, or, as where daemons may not be, none can even be made."""

    def refuse(*_: object, **__: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, request.param, refuse)


@pytest.mark.parametrize("policy", ["COMMIT", "ALWAYS", "INTERVAL"])
def test_where_no_thread_may_start_the_callers_do_the_work(tmp_path: Path, threadless: None, policy: str) -> None:
    wal = walcore.open(tmp_path / "wal", sync_policy=policy, **SMALL)
    for id in range(200):  # many halves and many segments
        wal.log_mint(id, "I", "x" * (id % 300))
    wal.log_mint_many([1] * 500, "I", "y" * 50)
    wal.log_mint(1, "I", "z" * 20_000)
    assert wal.written_lsn > 0
    if policy == "INTERVAL":
        time.sleep(0.01)
        before = wal.last_lsn
        wal.log_mint(1, "I", "the interval is over")
        assert wal.durable_lsn > before
    wal.flush()
    assert wal.written_lsn == wal.last_lsn
    wal.await_durable(wal.last_lsn, timeout=5)
    assert wal.durable_lsn == wal.last_lsn
    wal.rotate()
    assert wal.stats().segment is None
    assert lsns(tmp_path / "wal") == list(range(1, wal.last_lsn + 1))
    wal.purge_all_segments()
    assert lsns(tmp_path / "wal") == []
    last = wal.log_mint(7, "I", "x")
    wal.commit(last)
    wal.log_mint(8, "I", "x")
    wal.close()
    assert lsns(tmp_path / "wal") == [last, last + 1]


def test_many_threads_share_the_work_of_a_loop_that_may_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = walcore.open(tmp_path / "wal", **SMALL)
    start, refused = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("walcore"):
            refused.append(thread.name)
            msg = "can't start new thread"
            raise RuntimeError(msg)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)

    def work() -> None:
        for id in range(40):
            lsn = wal.log_mint(id, "I", "x" * (id * 10))
            if id % 3 == 0:
                wal.commit(lsn)
            if id % 13 == 0:
                wal.rotate()

    together([work] * 8)
    assert refused
    wal.close()
    assert lsns(tmp_path / "wal") == list(range(1, 321))


def test_close_ends_though_a_committer_still_leads(tmp_path: Path) -> None:
    """Threads that want the GIL as well keep the committer from giving the lead back at once."""
    over = threading.Event()

    def hinder() -> None:
        while not over.is_set():
            sum(range(50))

    def commit(wal: walcore.Wal, lsn: int) -> None:
        with suppress(walcore.WalClosedError):
            wal.commit(lsn)

    def rounds() -> None:
        for number in range(60):
            wal = walcore.open(tmp_path / str(number))
            wal.commit(wal.log_mint(1, "I", "x"))
            lsn = wal.log_mint(2, "I", "y")
            committer = threading.Thread(target=commit, args=(wal, lsn))
            committer.start()
            wal.close()
            committer.join()
        over.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        together([rounds, hinder, hinder, hinder], 30)
    finally:
        over.set()
        sys.setswitchinterval(before)
