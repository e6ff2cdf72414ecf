"""Logs, loops and processes that end while tasks wait, and those that begin badly."""

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
from pathlib import Path
from typing import Any

import pytest
from folders import lsns
from tasks import Gate, descriptors, run, waiting

import walcore
from walcore import aio
from walcore._core.notify import Bell
from walcore.aio import AsyncWal
from walcore.live import Tail


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_between_a_sync_and_its_news_takes_the_news_from_no_task(tmp_path: Path) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            views = [AsyncWal(wal.wal) for _ in range(20)]  # the child gives them up in any order
            lsn = wal.log_mint(1, "I", "urn:x")
            tasks = [asyncio.create_task(view.commit(lsn)) for view in views]
            await asyncio.sleep(0)

            def fork() -> None:
                while wal.wal.durable_lsn < lsn:  # the bells have rung; the loop, whose thread this is, has not looked
                    time.sleep(0.001)
                child = os.fork()
                if child == 0:
                    os._exit(0)
                os.waitpid(child, 0)

            asyncio.get_running_loop().call_soon(fork)
            assert await asyncio.gather(*tasks) == [lsn] * len(views)

    run(work())


def test_a_bell_that_was_not_made_closes_nobodys_descriptor() -> None:
    before = os.fstat(0)
    for arguments in ((), (None,), (3,)):
        with pytest.raises(TypeError):
            Bell(*arguments)  # type: ignore[arg-type, call-arg]
    assert os.fstat(0) == before


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


def test_a_close_whose_time_runs_out_may_be_called_again_and_serves_who_waits(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        gate.syncs.clear()
        tasks = await waiting(wal, 3)
        await asyncio.to_thread(gate.begun.wait, 20)
        with pytest.raises(walcore.WalTimeoutError):
            await asyncio.wait_for(wal.close(0.05), 20)
        assert not wal.wal.is_closed
        assert not any(task.done() for task in tasks)
        gate.syncs.set()
        await wal.close()
        assert await asyncio.gather(*tasks) == [3, 3, 3]
        assert wal.wal.is_closed

    run(work())


def test_a_log_that_fails_before_its_loop_asked_for_a_sync_is_told(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        task = asyncio.create_task(wal.commit(wal.log_mint(1, "I", "urn:x")))

        async def fail() -> None:
            gate.fail = {"pwrite": errno.EIO}
            with pytest.raises(walcore.WalFailedError):
                wal.wal.flush()

        await asyncio.gather(fail())
        with pytest.raises(walcore.WalFailedError):
            await asyncio.wait_for(task, 20)
        with pytest.raises(walcore.WalFailedError):
            await wal.close()

    run(work())


def until_closing(wal: walcore.Wal) -> None:
    while wal.stats().state != "closing":
        time.sleep(0.001)


def test_who_waits_while_the_log_is_closing_may_go_on_and_who_comes_may_not(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        gate.syncs.clear()
        [task] = await waiting(wal, 1)
        await asyncio.to_thread(gate.begun.wait, 20)
        closing = asyncio.create_task(wal.close())
        await asyncio.to_thread(until_closing, wal.wal)
        with pytest.raises(walcore.WalClosedError):
            await wal.await_durable(1)
        wal._waits._answer(0, everybody=True)  # woken for nothing
        await asyncio.sleep(0.01)
        assert not task.done()
        gate.syncs.set()
        assert await asyncio.wait_for(task, 20) == 1
        await closing

    run(work())


def test_nothing_is_written_to_a_descriptor_of_a_view_that_was_let_go_while_its_task_waited(
    tmp_path: Path, gate: Gate
) -> None:
    async def work() -> None:
        with walcore.open(tmp_path) as wal:
            view = AsyncWal(wal)
            gate.syncs.clear()
            [task] = await waiting(view, 1)
            await asyncio.to_thread(gate.begun.wait, 20)
            task.cancel()
            bell, number = view._waits._bell, view._waits._bell.fileno()
            reader, writer = os.pipe()
            view._waits.close()
            try:
                ours = os.dup2(writer, number)  # somebody else's by now
                os.set_blocking(reader, False)
                gate.syncs.set()
                await asyncio.to_thread(wal.commit)
                with pytest.raises(BlockingIOError):
                    os.read(reader, 8)
                os.close(ours)
            finally:
                os.close(reader)
                os.close(writer)
            assert bell.fileno() == -1

    run(work())


def test_without_a_descriptor_for_its_loop_no_view_is_made_and_the_log_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def work() -> None:
        with walcore.open(tmp_path) as wal:
            before = descriptors()
            with monkeypatch.context() as patched:
                patched.setattr(os, "eventfd", none_left, raising=False)
                with pytest.raises(OSError, match="Too many open files"):
                    AsyncWal(wal)
            assert descriptors() == before
            assert await AsyncWal(wal).commit(wal.log_mint(1, "I", "urn:x")) == 1

    run(work())


def test_a_view_that_is_closed_is_watched_by_its_loop_no_more(tmp_path: Path) -> None:
    async def work() -> None:
        wal = await aio.open(tmp_path)
        await wal.commit(wal.log_mint(1, "I", "urn:x"))
        descriptor = wal._waits._bell.fileno()
        await wal.close()
        assert not asyncio.get_running_loop().remove_reader(descriptor)
        await wal.close()

    run(work())
