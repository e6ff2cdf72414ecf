"""A log in which nothing happens costs nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import walcore

SCHEDSTAT = Path("/proc/self/schedstat")


def times_run() -> dict[str, str]:
    """How long, and how often, each of the log's threads was on a processor: one that never was made no system call."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("walcore")]
    return {thread.name: Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text() for thread in threads}


@pytest.mark.skipif(not SCHEDSTAT.exists(), reason="the kernel doesn't count the runs of threads (schedstat)")
@pytest.mark.parametrize("policy", walcore.SyncPolicy)
def test_an_idle_logs_threads_never_run(tmp_path: Path, policy: walcore.SyncPolicy) -> None:
    with walcore.open(tmp_path / "wal", sync_policy=policy, sync_interval=0.02, on_force=id) as wal:
        wal.await_durable(wal.log_mint(1, "I", "urn:x"))
        wal.rotate()
        wal.await_durable(wal.log_mint(2, "I", "urn:y"))
        while wal.stats().seal_backlog:
            time.sleep(0.01)
        time.sleep(0.2)
        before = times_run()
        time.sleep(0.3)
        assert len(before) == 2
        assert times_run() == before
