"""walcore and an independent reader find the same records, in whatever state a log is."""

from __future__ import annotations

import shutil
from pathlib import Path

import odd_logs
import readers
from tally import LONG

ROUNDS = 200_000 if LONG else 2000


def test_damaged_logs_are_read_alike(shared: Path, tmp_path: Path) -> None:
    logs = odd_logs.sound(tmp_path)
    logs += [shutil.copytree(shared / "golden" / name / "wal", tmp_path / name) for name in odd_logs.GOLDEN]
    for log in logs:
        assert readers.against_the_independent(log) is None, log
    for copy in odd_logs.all_damaged(logs, tmp_path, range(ROUNDS)):
        assert readers.against_the_independent(copy) is None, copy
        shutil.rmtree(copy)
    print(f"two readers: {ROUNDS} damaged logs, all alike")
