"""Whatever a power cut leaves, nothing promised is lost, nothing is invented, and the log goes on.

The states come from a tool of the shared folder that records a program's system calls and works out what the disk may
hold if the power had failed at any moment, on a strict file system and on ext4.  `witness.check` looks at each.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LONG = bool(os.environ.get("WALCORE_LONG"))
STATES = 12_000 if LONG else 45
HERE = Path(__file__).parent
STORIES = {
    "fill, seal, close": ("COMMIT", "append:5 promise append:30 promise seal close open append:2 promise close"),
    "threads, rotation, purge": ("COMMIT", "threads:4 rotate threads:3 seal purge threads:3 close"),
    "each record on disk": (
        "ALWAYS",
        "append:14 crash append:3 crash append:12 seal crash append:2 close open append:1",
    ),
    "by the interval": (
        "INTERVAL",
        "append:20 promise rotate append:4 sync purge append:30 flush crash append:3 promise",
    ),
    "killed again and again": (
        "COMMIT",
        "append:3 flush crash append:14 flush crash append:9 promise append:9 flush crash append:1",
    ),
    "frames larger than a segment": (
        "COMMIT",
        "large:1 promise append:2 large:2 promise rotate large:1 promise crash large:1 promise",
    ),
    "many at once": (
        "COMMIT",
        "many:40 promise many:60 flush crash many:10 promise seal purge many:10 promise close open purge close",
    ),
    "purge of many": ("COMMIT", "append:50 promise purge append:2 promise"),
    "purge upon purge": ("ALWAYS", "purge append:1 purge purge append:1 rotate rotate append:1 rotate purge close"),
}


@pytest.fixture(scope="session")
def tool(shared: Path) -> Path:
    tool = shared / "crashstates" / "crashstates.py"
    if not tool.exists():
        pytest.skip(f"{tool} is not there")
    if shutil.which("strace") is None:
        pytest.skip("strace, which records the system calls, is not installed")
    return tool


def explore(
    tool: Path, folder: Path, model: str, policy: str, steps: str, *before: str | Path, first_id: int = 1
) -> dict[str, int]:
    """Play a story and have every state judged; returns the tool's figures."""
    (folder / "disk").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, tool, "run", "--dir", folder / "disk", "--work", folder / "work", "--model", model,
         "--ack-re", r"(ACK|PURGE|PURGED)\b", "--max-states", str(STATES), "--seed", "1", *before,
         "--check-py", f"{HERE / 'witness.py'}:check", "--",
         sys.executable, HERE / "player.py", folder / "disk" / "wal", policy, str(first_id), *steps.split()],
        capture_output=True, text=True, check=False, timeout=3600 if LONG else 120, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, f"{model}, {steps}: {done.stdout}{done.stderr}\nfailures.jsonl: {folder / 'work'}"
    figures: dict[str, int] = json.loads((folder / "work" / "summary.json").read_text())
    print(f"{steps}: {done.stdout.strip().splitlines()[-1]}")
    return figures


@pytest.mark.parametrize("model", ["strict", "ext4"])
@pytest.mark.parametrize("story", STORIES)
def test_nothing_promised_is_lost_by_a_power_cut(tool: Path, tmp_path: Path, story: str, model: str) -> None:
    # How many of the states asked for there are depends on how the threads happened to take turns.
    assert explore(tool, tmp_path, model, *STORIES[story])["states"] > STATES // 4


def test_nothing_promised_is_lost_by_a_power_cut_while_opening_repairs_an_earlier_one(
    tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States of states: what the first power cut left is opened, logged to, and cut off again."""
    points = explore(tool, tmp_path / "first", "strict", "COMMIT", "append:30 promise append:2 flush append:9 promise")
    monkeypatch.setenv("WALCORE_OLD_IDS", "41")
    tried = 0
    for point in range(points["points"] - 1, 0, -7 if LONG else -29):
        for kind in range(7) if LONG else (3,):
            start, acks = tmp_path / f"start-{point}.{kind}", tmp_path / "acks"
            shown = subprocess.run(
                [sys.executable, tool, "show", "--work", tmp_path / "first" / "work", "--model", "strict",
                 "--seed", "1", "--state", f"{point}.{kind}", "--out", start, "--acks", acks],
                capture_output=True, check=False,
            )  # fmt: skip
            if shown.returncode == 0 and (start / "wal").exists():
                again = ("--init", start, "--pre-acks", acks)
                steps = "append:2 promise crash append:1"
                explore(tool, tmp_path / f"again-{point}.{kind}", "strict", "COMMIT", steps, *again, first_id=1001)
                tried += 1
    assert tried > 1
