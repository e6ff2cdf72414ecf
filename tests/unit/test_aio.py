"""Tasks of an event loop wait for the disk: one event a sync, nothing left behind, the same errors as for threads."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
import time
from pathlib import Path

import pytest
from folders import lsns
from tasks import Gate, descriptors, run, waiting
from together import together

import walcore
from walcore import aio
from walcore.aio import AsyncWal


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
                for wrong in ("1", 1.0, True):
                    with pytest.raises(TypeError, match="lsn must be an int"):
                        await wait(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="lsn must be an int"):
                await wal.await_durable(None)  # type: ignore[arg-type]

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


def test_who_waits_for_the_sync_that_is_made_does_not_wait_for_the_next_one(tmp_path: Path, gate: Gate) -> None:
    passes = threading.Semaphore(0)

    def one_at_a_time(fd: int) -> None:
        gate.begun.set()
        assert passes.acquire(timeout=60)

    gate.fdatasync = one_at_a_time  # type: ignore[method-assign]

    async def work() -> None:
        async with await aio.open(tmp_path) as wal:
            first = wal.log_mint(1, "I", "urn:x")
            thread = asyncio.create_task(asyncio.to_thread(wal.wal.commit, first))
            await asyncio.to_thread(gate.begun.wait, 20)
            gate.begun.clear()
            # In one round of the loop: the later record first, then the one that is being synced.
            later = asyncio.create_task(wal.commit(wal.log_mint(2, "I", "urn:x")))
            sooner = asyncio.create_task(wal.await_durable(first))
            await asyncio.sleep(0.05)
            assert not sooner.done()
            passes.release()
            await asyncio.wait_for(sooner, 20)
            assert not later.done()
            assert wal.wal.durable_lsn == first
            await asyncio.to_thread(gate.begun.wait, 20)
            passes.release(10)
            assert await later == 2
            await thread

    run(work())


def test_a_full_buffer_raises_at_once_where_it_is_told_to(tmp_path: Path, gate: Gate) -> None:
    async def work() -> None:
        async with await aio.open(tmp_path, batch_buffer_bytes=10_000, buffer_timeout=0) as wal:
            gate.syncs.clear()
            [task] = await waiting(wal, 1)
            await asyncio.to_thread(gate.begun.wait, 20)
            with pytest.raises(walcore.WalFullError):
                for id in range(1000):
                    wal.log_mint(id, "I", "x" * 100)
            gate.syncs.set()
            last = wal.wal.last_lsn
            assert 1 < last < 1000
            await wal.drain()
            assert await wal.commit(wal.log_mint(1, "I", "x")) == last + 1
            await task

    run(work())
    assert lsns(tmp_path) == list(range(1, len(lsns(tmp_path)) + 1))
