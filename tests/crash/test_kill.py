"""A process killed at any moment loses nothing that it was promised, and the next one goes on where it stood.

Outside the process that is killed, a witness keeps every line that it wrote: what it was about to log, and what it was
promised.  The same directory is gone on with for all rounds of a test.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import player
import pytest
import witness

import walcore

HERE = Path(__file__).parent
ROUNDS = 200 if os.environ.get("WALCORE_LONG") else 7
STEPS = {
    "COMMIT": "append:9 promise threads:4 many:30 promise rotate append:3 flush append:2 promise large:1 promise",
    "ALWAYS": "append:7 threads:3 rotate append:1",
    "INTERVAL": "append:40 promise threads:3 rotate append:5 sync",
}


def killed(directory: Path, policy: str, first_id: int, steps: str, seconds: float) -> list[str]:
    """The whole lines of a process that was killed that long after its first one."""
    child = subprocess.Popen(
        [sys.executable, HERE / "player.py", directory, policy, str(first_id), "forever", *steps.split()],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    text = child.stdout.readline()
    killer = threading.Timer(seconds, child.kill)
    killer.start()
    text += child.stdout.read()
    killer.join()
    assert child.wait() == -signal.SIGKILL, "it ended on its own"
    child.stdout.close()
    return text.decode().split("\n")[:-1]


@pytest.mark.parametrize("purges", [False, True], ids=["", "purging"])
@pytest.mark.parametrize("policy", STEPS)
def test_a_killed_process_loses_nothing_promised(tmp_path: Path, policy: str, purges: bool) -> None:
    directory, chance = tmp_path / "wal", random.Random(f"{policy} {purges}")
    steps = STEPS[policy] + (" purge" if purges else "")
    lines: list[str] = []
    seen: dict[int, tuple[object, ...]] = {}
    for number in range(ROUNDS):
        first_id = number * player.IDS_OF_A_PROCESS + 1
        lines += killed(directory, policy, first_id, steps, chance.uniform(0, 0.25))
        promises = witness.Promises([x for x in lines if not x.startswith("SUB")], [x for x in lines if x[0] == "S"])
        rows = witness.read(directory)
        assert promises.judge(rows) is None, f"round {number}"
        kept = {lsn: row for lsn, row in seen.items() if lsn > promises.doubtful}
        assert kept.items() <= rows.items(), f"round {number}: what was read once is gone or changed"
        seen = rows
    print(f"{policy}: {ROUNDS} kills, {len(promises.acked)} promises, 0 lost")
    with walcore.open(directory, create=False) as wal:
        assert wal.opening.faults == ()
        assert wal.last_lsn >= promises.highest
    recovered = walcore.recover(directory)
    assert recovered.report.complete
    assert not recovered.conflicts
