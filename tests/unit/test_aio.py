"""Tasks of an event loop wait for the disk: one event a sync, nothing left behind, the same errors as for threads."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from folders import lsns
from together import together

import walcore
from walcore import aio, system
from walcore.aio import AsyncWal
from walcore.live import Tail


class Gate:
    """In place of C's calls: a sync passes while `syncs` is set, and `fail` fails the next ones."""

    def __init__(self) -> None:
        self.syncs = threading.Event()
        self.begun = threading.Event()
        self.fail: dict[str, int] = {}
        self.syncs.set()

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        self._meet("pwrite")
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int, /) -> None:
        self.begun.set()
        assert self.syncs.wait(60)
        self._meet("fdatasync")

    def _meet(self, call: str) -> None:
        if call in self.fail:
            raise OSError(self.fail[call], os.strerror(self.fail[call]))

    ftruncate = staticmethod(os.ftruncate)
    fstat = staticmethod(os.fstat)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = system.calls.core = Gate()
    yield made
    made.syncs.set()
    system.calls.core = None


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time that a loop is woken."""
    counted: list[int] = []
    wake = aio._Waits._wake

    def count(self: aio._Waits) -> None:
        counted.append(1)
        wake(self)

    monkeypatch.setattr(aio._Waits, "_wake", count)
    return counted


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """What it returns, in a loop of its own; a hang is a failure."""

    async def watched() -> Any:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(watched())


async def waiting(wal: AsyncWal, count: int) -> list[asyncio.Task[int]]:
    """So many tasks that have begun to wait, each for a record of its own."""
    tasks = [asyncio.create_task(wal.commit(wal.log_mint(i, "I", "urn:x"))) for i in range(count)]
    await asyncio.sleep(0)
    return tasks


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_commit_returns_when_its_record_is_on_disk(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path / "wal") as wal:
            gate.syncs.clear()
            tasks = await waiting(wal, 3)
            await asyncio.to_thread(gate.begun.wait, 20)
            await asyncio.sleep(0.05)  # the loop goes on meanwhile
            assert not any(task.done() for task in tasks)
            assert wal.wal.durable_lsn == 0
            gate.syncs.set()
            assert await asyncio.gather(*tasks) == [3, 3, 3]
            assert await wal.commit() == await wal.commit(2) == 3
            await wal.await_durable(1)

    run(work())
    assert lsns(tmp_path / "wal") == [1, 2, 3]


def test_the_loop_is_woken_once_a_sync_whatever_the_number_of_tasks(tmp_path: Path, wakes: list[int]) -> None:
    async def client(wal: AsyncWal) -> None:
        for i in range(20):
            lsn = wal.log_mint(i, "I", "urn:x")
            assert await wal.commit(lsn) >= lsn

    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            await asyncio.gather(*(client(wal) for _ in range(64)))
            assert wal.wal.stats().syncs == 20
            assert len(wakes) == 20

    run(work())


def test_a_sync_is_asked_for_when_every_task_had_its_turn(tmp_path: Path) -> None:
    async def slow(wal: AsyncWal) -> int:
        time.sleep(0.05)  # noqa: ASYNC251 - another thread could sync meanwhile
        return await wal.commit(wal.log_mint(2, "I", "urn:x"))

    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            first = wal.commit(wal.log_mint(1, "I", "urn:x"))
            assert await asyncio.gather(first, slow(wal)) == [2, 2]
            assert wal.wal.stats().syncs == 1

    run(work())


def test_tasks_that_come_during_a_sync_share_the_next(tmp_path: Path, gate: Gate, wakes: list[int]) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            gate.syncs.clear()
            early = await waiting(wal, 10)
            await asyncio.to_thread(gate.begun.wait, 20)
            late = [task for _ in range(5) for task in await waiting(wal, 10)]
            gate.syncs.set()
            assert await asyncio.gather(*early) == [10] * 10
            assert await asyncio.gather(*late) == [60] * 50
            assert (wal.wal.stats().syncs, len(wakes)) == (2, 2)

    run(work())


def test_a_threads_commit_serves_tasks_and_segments_begin_in_between(tmp_path: Path) -> None:
    """Each of the 16 writers meets beginnings of segments, where a drain stops and somebody else goes on."""

    async def client(wal: AsyncWal) -> None:
        for i in range(50):
            lsn = wal.log_mint(i, "I", "urn:" + "x" * 500)
            assert await wal.commit(lsn) >= lsn

    async def clients(wal: walcore.Wal) -> None:
        view = AsyncWal(wal)
        await asyncio.gather(*(client(view) for _ in range(8)))

    def commits() -> None:
        for i in range(50):
            lsn = wal.log_mint(i, "I", "urn:" + "x" * 500)
            assert wal.commit(lsn) >= lsn

    with walcore.open(tmp_path, max_segment_bytes=16384, batch_buffer_bytes=8192) as wal:
        together([commits] * 4 + [lambda: run(clients(wal))] * 3)
    assert lsns(tmp_path) == list(range(1, 50 * (4 + 3 * 8) + 1))


def test_cancelled_waits_leave_nothing_behind(tmp_path: Path, gate: Gate) -> None:
    async def round_of(wal: AsyncWal, lsn: int) -> None:
        tasks = [asyncio.create_task(wal.commit(lsn)) for _ in range(1000)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}

    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            gate.syncs.clear()
            [held] = await waiting(wal, 1)
            lsn = wal.wal.last_lsn
            await round_of(wal, lsn)
            await asyncio.to_thread(gate.begun.wait, 20)
            gc.collect()
            before = len(gc.get_objects())
            for _ in range(100):
                await round_of(wal, lsn)
            await asyncio.sleep(0)  # the last round is let go
            gc.collect()
            assert len(gc.get_objects()) - before < 100
            gate.syncs.set()
            assert await held == lsn

    run(work())


def test_a_timeout_ends_the_wait_and_the_record_stays_logged(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            gate.syncs.clear()
            lsn = wal.log_mint(1, "I", "urn:x")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await wal.await_durable(lsn)
            assert wal.wal.durable_lsn == 0
            gate.syncs.set()
            await wal.await_durable(lsn)

    run(work())
    assert lsns(tmp_path) == [1]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_failed_log_is_told_to_every_task_and_what_was_on_disk_stays_so(
    tmp_path: Path, gate: Gate, call: str
) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        assert await wal.commit(wal.log_mint(1, "I", "urn:x")) == 1
        gate.fail[call] = errno.EIO
        ends = await asyncio.gather(*await waiting(wal, 10), return_exceptions=True)
        for end in ends:
            assert isinstance(end, walcore.WalFailedError)
            assert (end.call, end.durable_lsn) == (call.removeprefix("p"), 1)
            assert isinstance(end.__cause__, OSError)
        assert len(set(map(id, ends))) == 10
        with pytest.raises(walcore.WalFailedError):
            await wal.commit()
        assert await wal.commit(1) == 1
        with pytest.raises(walcore.WalFailedError):
            await wal.close()
        await wal.close()

    run(work())


def test_a_full_disk_is_told_to_those_who_wait_and_the_next_commit_tries_again(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            assert await wal.commit(wal.log_mint(1, "I", "urn:x")) == 1
            gate.fail["pwrite"] = errno.ENOSPC
            ends = await asyncio.gather(*await waiting(wal, 10), return_exceptions=True)
            assert {type(end) for end in ends} == {walcore.WalFullError}
            gate.fail.clear()
            assert await wal.commit() == 11

    run(work())
    assert lsns(tmp_path) == list(range(1, 12))


def test_a_task_that_asks_after_the_disk_was_full_is_not_told_of_that(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            gate.fail["pwrite"] = errno.ENOSPC
            early = await waiting(wal, 1)
            await asyncio.sleep(0)  # the sync is asked for
            while wal._core.begin_wait(1) == (1, 0):
                time.sleep(0.001)  # noqa: ASYNC251 - the loop is not to hear of it
            gate.fail.clear()
            late = asyncio.create_task(wal.commit(1))
            with pytest.raises(walcore.WalFullError):
                await early[0]
            assert await late == 1

    run(work())


def test_closing_serves_who_waits_and_refuses_who_comes_later(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        gate.syncs.clear()
        tasks = await waiting(wal, 5)
        closing = asyncio.create_task(wal.close())
        await asyncio.to_thread(gate.begun.wait, 20)
        while wal.wal.stats().state == "open":  # noqa: ASYNC110 - a log has no event for it
            await asyncio.sleep(0.001)
        with pytest.raises(walcore.WalClosedError, match="closing"):
            await wal.commit()
        gate.syncs.set()
        assert await asyncio.gather(*tasks) == [5] * 5
        await closing
        await wal.close()
        assert await wal.commit(5) == 5
        with pytest.raises(walcore.WalClosedError):
            wal.log_mint(1, "I", "urn:x")
        with pytest.raises(walcore.WalClosedError):
            async with wal:
                pass

    before = descriptors()
    run(work())
    assert descriptors() == before
    assert lsns(tmp_path) == [1, 2, 3, 4, 5]


def test_a_log_closed_by_a_thread_serves_the_tasks(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        wal = walcore.open(tmp_path)
        view = AsyncWal(wal)
        gate.syncs.clear()
        tasks = await waiting(view, 5)
        closer = threading.Thread(target=wal.close)
        closer.start()
        gate.syncs.set()
        closer.join()  # the loop stands still until it is closed
        assert await asyncio.gather(*tasks) == [5] * 5

    run(work())


def test_without_eventfd_a_pipe_wakes_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wakes: list[int]
) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            for lsn in (10, 20, 30):
                assert await asyncio.gather(*await waiting(wal, 10)) == [lsn] * 10
            assert len(wakes) == 3

    monkeypatch.delattr(os, "eventfd", raising=False)
    before = descriptors()
    run(work())
    assert descriptors() == before


def test_another_loops_view_is_refused(tmp_path: Path) -> None:
    async def make(wal: walcore.Wal) -> AsyncWal:
        return AsyncWal(wal)

    async def use(view: AsyncWal, lsn: int) -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await view.commit(lsn)

    with walcore.open(tmp_path) as wal:
        view = run(make(wal))
        run(use(view, wal.log_mint(1, "I", "urn:x")))
        with pytest.raises(RuntimeError, match="no running event loop"):
            AsyncWal(wal)


@pytest.mark.parametrize("rung", [True, False])
def test_a_loop_may_be_closed_while_its_tasks_wait(tmp_path: Path, gate: Gate, rung: bool) -> None:
    async def work(wal: walcore.Wal) -> AsyncWal:
        view = AsyncWal(wal)
        pending.extend(await waiting(view, 3))
        await asyncio.to_thread(gate.begun.wait, 20)
        return view

    before = descriptors()
    pending: list[asyncio.Task[int]] = []
    gate.syncs.clear()
    wal = walcore.open(tmp_path)
    loop = asyncio.new_event_loop()
    view = loop.run_until_complete(work(wal))
    loop.run_until_complete(loop.shutdown_default_executor())
    if rung:
        gate.syncs.set()
        wal.commit()
    for task in pending:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    pending.clear()
    del view, task
    gc.collect()
    gate.syncs.set()
    wal.log_mint(1, "I", "urn:x")
    assert wal.commit() == 4
    wal.close()
    del loop
    assert descriptors() == before


def test_a_view_that_is_dropped_gives_its_descriptor_back(tmp_path: Path) -> None:
    async def work() -> None:
        view = AsyncWal(wal)
        await view.commit(wal.log_mint(1, "I", "urn:x"))
        before = descriptors()
        del view
        gc.collect()
        await asyncio.sleep(0)
        assert descriptors() < before

    with walcore.open(tmp_path) as wal:
        run(work())
        assert wal.commit(wal.log_mint(1, "I", "urn:x")) == 2


def test_a_log_that_is_dropped_is_drained_with_a_warning(tmp_path: Path) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        wal.log_mint(1, "I", "urn:x")

    with pytest.warns(ResourceWarning, match="never closed"):
        run(work())
        gc.collect()
    for _ in range(1000):
        try:
            walcore.open(tmp_path).close()
            break
        except walcore.WalLockedError:
            time.sleep(0.01)
    assert lsns(tmp_path) == [1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_is_refused_and_the_parents_loop_is_still_woken(tmp_path: Path, gate: Gate) -> None:
    def in_child(wal: AsyncWal, ear: int) -> None:
        for wait in (wal.commit(), wal.await_durable(1)):
            with pytest.raises(walcore.WalClosedError, match="fork"):
                wait.send(None)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(ear)
        wal._waits.close()
        wal.__del__()

    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            gate.syncs.clear()
            tasks = await waiting(wal, 2)
            await asyncio.to_thread(gate.begun.wait, 20)
            child = os.fork()
            if child == 0:
                try:
                    in_child(wal, wal._waits._bell.fileno())
                except BaseException:
                    os._exit(1)
                os._exit(0)
            status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.waitstatus_to_exitcode(status[1]) == 0
            gate.syncs.set()
            assert await asyncio.gather(*tasks) == [2, 2]

    run(work())


def test_ctrl_c_ends_the_waits_and_the_log_is_closed(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            gate.syncs.clear()
            asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGINT)
            try:
                await wal.commit(wal.log_mint(1, "I", "urn:x"))
            finally:
                gate.syncs.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert lsns(tmp_path) == [1]


def test_always_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(walcore.WalConfigError, match="COMMIT or INTERVAL"):
            await aio.open(tmp_path / "wal", sync_policy="ALWAYS")
        assert not (tmp_path / "wal").exists()
        with walcore.open(tmp_path / "wal", sync_policy="ALWAYS") as wal, pytest.raises(walcore.WalConfigError):
            AsyncWal(wal)

    run(work())


def test_under_interval_a_commit_returns_at_once_and_await_durable_waits(tmp_path: Path) -> None:
    async def work() -> None:
        config = walcore.WalConfig(tmp_path, sync_policy="INTERVAL", sync_interval=1000)
        with pytest.raises(TypeError, match="alone"):
            await aio.open(config, sync_interval=1)
        async with await aio.open(config) as wal:
            lsn = wal.log_mint(1, "I", "urn:x")
            assert await wal.commit(lsn) == await wal.commit() == 0
            await wal.await_durable(lsn)
            assert wal.wal.durable_lsn == lsn

    run(work())


def test_an_lsn_that_was_not_given_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            assert await wal.commit() == 0
            wal.log_mint(1, "I", "urn:x")
            for wait in (wal.commit, wal.await_durable):
                for lsn in (0, 2):
                    with pytest.raises(ValueError, match="last_lsn"):
                        await wait(lsn)
                with pytest.raises(TypeError, match="lsn must be an int"):
                    await wait("1")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="lsn must be an int"):
                await wal.await_durable(None)  # type: ignore[arg-type]

    run(work())


def test_an_opening_that_is_cancelled_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, here = threading.Event(), threading.Event()
    make = walcore.Wal.__init__

    def late(self: walcore.Wal, *args: Any, **kwargs: Any) -> None:
        here.set()
        assert go.wait(10)
        make(self, *args, **kwargs)

    async def work() -> None:
        opening = asyncio.create_task(aio.open(tmp_path))
        await asyncio.to_thread(here.wait)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        go.set()

    with monkeypatch.context() as patch:
        patch.setattr(walcore.Wal, "__init__", late)
        run(work())  # waits for the thread
    walcore.open(tmp_path).close()


def test_where_no_thread_may_start_the_loops_own_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Tail) -> None:
        raise RuntimeError

    async def work() -> None:
        wal = walcore.open(tmp_path)
        view = AsyncWal(wal)
        assert await asyncio.gather(*await waiting(view, 10)) == [10] * 10
        wal.close()

    monkeypatch.setattr(Tail, "start_loop", refuse)
    run(work())
    assert lsns(tmp_path) == list(range(1, 11))


def test_a_writer_whose_start_was_cut_short_is_started_for_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, start = threading.Event(), Tail.start_loop

    def first(self: Tail) -> None:
        monkeypatch.setattr(Tail, "start_loop", start)
        began.set()
        time.sleep(0.2)
        raise MemoryError

    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            unlucky = asyncio.create_task(asyncio.to_thread(wal.log_mint, 1, "I", "urn:x"))
            await asyncio.to_thread(began.wait, 20)
            assert await wal.commit(wal.log_mint(2, "I", "urn:x")) == 1
            with pytest.raises(MemoryError):
                await unlucky

    monkeypatch.setattr(Tail, "start_loop", first)
    run(work())


def test_a_loop_without_waits_is_left_alone(tmp_path: Path, wakes: list[int]) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            assert await wal.commit(wal.log_mint(1, "I", "urn:x")) == 1
            for _ in range(10):  # the syncs of others don't wake it
                await asyncio.to_thread(wal.wal.await_durable, wal.log_mint(1, "I", "urn:x"))
            await asyncio.sleep(0.05)
            assert len(wakes) == 1

    run(work())


def test_what_takes_a_thread_does_what_it_does_in_a_wal(tmp_path: Path) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path, batch_buffer_bytes=10_000) as wal:
            lsn = wal.log_mint(1, "I", "urn:x")
            await wal.drain()
            assert wal.wal.written_lsn == 0
            first, last = wal.log_mint_many(range(100), "I", "urn:x")
            assert (first, last) == (lsn + 1, lsn + 100)
            await wal.drain()
            assert (wal.wal.written_lsn, wal.wal.stats().buffered_bytes) == (last, 0)
            wal.log_mint(1, "I", "urn:x")
            await wal.flush()
            assert (wal.wal.written_lsn, wal.wal.durable_lsn) == (last + 1, 0)
            await wal.rotate()
            assert wal.wal.durable_lsn == last + 1
            await wal.purge_all_segments()
            assert "COMMIT open" in repr(wal)

    run(work())
    assert lsns(tmp_path) == []


ENDLESS = """
import asyncio, sys, walcore.aio

async def client(wal):
    while True:
        lsn = wal.log_mint(1, "I", "urn:" + "x" * 100)
        print(await wal.commit(lsn), flush=True)

async def work():
    async with await walcore.aio.open(sys.argv[1], max_segment_bytes=100_000) as wal:
        await asyncio.gather(*(client(wal) for _ in range(16)))

asyncio.run(work())
"""


def test_what_a_task_was_told_survives_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "wal")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        told = [int(child.stdout.readline()) for _ in range(2000)]
        child.kill()
        told += [int(line) for line in child.stdout if line.endswith("\n")]
    found = lsns(tmp_path / "wal")
    assert found[: max(told)] == list(range(1, max(told) + 1))
