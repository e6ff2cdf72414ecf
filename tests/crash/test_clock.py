"""A wall clock that jumps, or stands still, changes no interval and no wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faults
import pytest

PROGRAM = """
import faulthandler, os, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import faults, walcore
faulthandler.dump_traceback_later(20, exit=True)
shim, day = faults.Shim(Path(sys.argv[2])), 86400 * int(sys.argv[3])
def jump():
    shim.jump(day if abs(time.time() - started) < 43200 else 0)
started = time.time()
jump()
assert abs(time.time() - started) > 43200
with walcore.open(sys.argv[2] + "/i", sync_policy="INTERVAL", sync_interval=0.05) as wal:
    for _ in range(5):
        lsn = wal.log_mint(1, "I", "x")
        jump()
        while wal.durable_lsn < lsn:
            time.sleep(0.01)
with walcore.open(sys.argv[2] + "/c", batch_buffer_bytes=5000, buffer_timeout=0.1) as wal:
    wal.commit(wal.log_mint(1, "I", "x"))
    for _ in range(3):
        shim.arm("fdatasync", fault=faults.SLOW, seconds=0.5)
        lsn = wal.log_mint(1, "I", "x")
        try:
            wal.await_durable(lsn, timeout=0.1)
        except TimeoutError:
            print("late")
        jump()
        wal.await_durable(lsn, timeout=15)
print("done")
"""


@pytest.mark.parametrize("days", [1, -1])
def test_a_wall_clock_that_jumps_changes_nothing(shim: Path, tmp_path: Path, days: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, Path(__file__).parent, tmp_path, str(days)],
        env=faults.environment(shim), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["late"] * 3 + ["done"]
