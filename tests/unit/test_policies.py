"""When a record is on disk: what each policy, commit and a wait promise."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from folders import lsns

import walcore
from walcore import SyncPolicy, WalTimeoutError
from walcore.segments import Directory, NewSegment
from walcore.system import calls


def test_always_returns_when_the_record_is_on_disk(tmp_path: Path) -> None:
    with walcore.open(tmp_path, sync_policy="ALWAYS") as wal:
        for i in range(5):
            assert wal.log_mint(i, "I", "urn:x") == wal.durable_lsn == i + 1
        first, last = wal.log_mint_many(range(1000), "I", "urn:x")
        assert (first, last) == (6, 1005)
        assert wal.durable_lsn == 1005
        assert wal.stats().syncs == 6


def test_commit_policy_writes_nothing_before_it_is_asked(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "urn:x")
        assert (wal.written_lsn, wal.durable_lsn) == (0, 0)
        wal.log_mint(2, "I", "urn:x")
        wal.flush()
        assert (wal.written_lsn, wal.durable_lsn) == (2, 0)
        assert wal.stats().syncs == 0
        wal.log_mint(3, "I", "urn:x")
        assert wal.commit(1) == 3
        assert wal.stats().buffered_bytes == 0


def test_interval_syncs_by_itself_and_commit_does_not_wait(tmp_path: Path) -> None:
    with walcore.open(tmp_path, sync_policy="INTERVAL", sync_interval=0.2) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        assert wal.commit(lsn) == 0
        deadline = threading.Event()
        for _ in range(100):
            if wal.durable_lsn == lsn:
                break
            deadline.wait(0.05)
        assert wal.durable_lsn == lsn
        lsn = wal.log_mint(2, "I", "urn:x")
        wal.await_durable(lsn)
        assert wal.durable_lsn == lsn


@pytest.mark.parametrize("policy", list(SyncPolicy))
def test_await_durable_waits_under_every_policy(tmp_path: Path, policy: SyncPolicy) -> None:
    with walcore.open(tmp_path, sync_policy=policy, sync_interval=1000) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        wal.await_durable(lsn)
        assert wal.durable_lsn == lsn
        lsn = wal.log_mint(1, "I", "urn:x")
        wal.await_durable(lsn, timeout=20)
        assert wal.durable_lsn == lsn


@pytest.mark.parametrize("wait", ["commit", "await_durable"])
def test_an_lsn_that_was_not_given_is_refused(tmp_path: Path, wait: str) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "urn:x")
        for lsn in (0, -1, 2, 2**70):
            with pytest.raises(ValueError, match="last_lsn"):
                getattr(wal, wait)(lsn)
        for odd in ("1", 1.0, True):
            with pytest.raises(TypeError, match="lsn"):
                getattr(wal, wait)(odd)
    with walcore.open(tmp_path) as wal:
        assert wal.commit(1) == 1


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_below_zero_is_refused(tmp_path: Path, timeout: float) -> None:
    with walcore.open(tmp_path) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        with pytest.raises(ValueError, match="timeout"):
            wal.await_durable(lsn, timeout)
        with pytest.raises(TypeError, match="timeout"):
            wal.await_durable(lsn, "1")  # type: ignore[arg-type]


def test_a_wait_that_runs_out_tells_what_is_durable_and_the_record_stays_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran_out = threading.Event()
    make = Directory.create_segment

    def make_late(*args: Any) -> NewSegment:
        assert ran_out.wait(10)
        return make(*args)

    monkeypatch.setattr(Directory, "create_segment", make_late)
    with walcore.open(tmp_path) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        with pytest.raises(WalTimeoutError) as caught:
            wal.await_durable(lsn, timeout=0)
        assert caught.value.durable_lsn == 0
        ran_out.set()
        assert isinstance(caught.value, TimeoutError)
    assert lsns(tmp_path) == [1]


def test_interval_syncs_what_a_flush_left_behind_the_beginning_of_a_segment(tmp_path: Path) -> None:
    """The sync that was due went with the flush as far as the segment's end; the rest waited for the next record."""

    class Slow:
        begun, go = threading.Event(), threading.Event()
        pwrite = staticmethod(os.pwrite)
        ftruncate, fstat, fdatasync = staticmethod(os.ftruncate), staticmethod(os.fstat), staticmethod(os.fdatasync)

    def slow_write(fd: int, data: bytes, offset: int) -> int:
        Slow.begun.set()
        assert Slow.go.wait(20)
        return os.pwrite(fd, data, offset)

    calls.core = Slow()
    try:
        wal = walcore.open(tmp_path, sync_policy="INTERVAL", sync_interval=0.5, max_segment_bytes=1024)
    finally:
        calls.core = None
    wal.log_mint(1, "I", "urn:x")
    wal.flush()
    Slow.pwrite = staticmethod(slow_write)
    wal.log_mint(2, "I", "urn:x")
    flushes = [threading.Thread(target=wal.flush) for _ in range(2)]
    flushes[0].start()
    assert Slow.begun.wait(20)
    last = wal.log_mint_many(range(20), "I", "urn:" + "x" * 100)[1]
    flushes[1].start()
    time.sleep(1)  # the sync is due, and the second flush will take the lead
    Slow.go.set()
    for flush in flushes:
        flush.join()
    until = time.monotonic() + 10
    while wal.durable_lsn < last and time.monotonic() < until:
        time.sleep(0.01)
    assert wal.durable_lsn == last
    wal.close()
