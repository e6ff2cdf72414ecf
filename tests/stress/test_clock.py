"""A wall clock that jumps by a day, or stands still, changes what a segment says of its making, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import preloads
import pytest
from tally import LONG

HERE = Path(__file__).parent
JUMPS = 200 if LONG else 18  # each wait with each jump


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The shim, compiled."""
    return preloads.build(HERE / "clock.c", tmp_path)


def test_a_jump_of_the_wall_clock_moves_no_wait(clock: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, HERE / "jumps.py", tmp_path, "0", str(JUMPS)],
        env=os.environ | {"LD_PRELOAD": str(clock)},
        check=True,
    )
    print(f"{JUMPS} jumps of a day or stands: no wait, interval or timeout moved")
