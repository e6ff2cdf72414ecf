"""Every system call of a log's life fails once, and fails for ever after: `sweep.py` tells what must be true then.

WALCORE_SEED chooses the lives: each seed is a run of its own, whose figures add up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import faults
import looks
import pytest

LONG = bool(os.environ.get("WALCORE_LONG"))
SEED = os.environ.get("WALCORE_SEED", "0")
POLICIES = ("COMMIT", "ALWAYS", "INTERVAL")
STORIES = (*POLICIES, *looks.SCENES)
CALLS = (
    "write", "fdatasync", "fsync", "open", "read", "link", "rename", "unlink", "ftruncate", "fcntl", "mkdir", "stat",
    "readdir", "lseek",
)  # fmt: skip
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR", "EAGAIN", "EMFILE", "EACCES", "ESTALE")
# What is interrupted for ever never ends, as it should.
ALL = [
    (call, error, how)
    for call in CALLS
    for error in (*ERRORS, *(["SHORT"] if call in ("read", "write") else []))
    for how in ("once", "ever")
    if (error, how) != ("EINTR", "ever")
]
SHORT_FORM = 3  # one combination in so many; of each story, a call in so many more
STRIDES = {True: 23, False: 5}


@pytest.fixture(scope="module")
def figures() -> Iterator[Counter[str]]:
    """Adds up; printed when all is done."""
    total: Counter[str] = Counter()
    yield total
    print(
        f"\nfaults: {total['runs']} runs of seed {SEED}, {total['met']} faults met, {total['failed']} logs failed for "
        f"good, {total['syncs']} of them by a failed sync; false promises, hangs, syncs tried again, errors without "
        "call, file and cause, read errors taken for an end: 0"
    )


@pytest.mark.parametrize(("call", "error", "how"), ALL if LONG else ALL[::SHORT_FORM])
def test_a_failing_call_breaks_no_promise_and_hangs_nobody(
    shim: Path, tmp_path: Path, figures: Counter[str], call: str, error: str, how: str
) -> None:
    place = ALL.index((call, error, how))
    stories = STORIES if LONG else (POLICIES[place % 3], list(looks.SCENES)[place // SHORT_FORM % 5])
    for story in stories:
        stride = "1" if LONG else str(STRIDES[story in POLICIES])
        folder = tmp_path / story
        folder.mkdir()
        command = [sys.executable, Path(__file__).with_name("sweep.py"), folder, story, SEED, call, error, how, stride]
        done = subprocess.run(
            command, env=faults.environment(shim), capture_output=True, text=True, check=False,
            timeout=3600 if LONG else 100,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        result = json.loads(done.stdout.splitlines()[-1])
        assert result.pop("wrong") == [], f"{command}: {done.stdout}{done.stderr}"
        figures.update(result)
        if call in ("fdatasync", "fsync"):
            figures["syncs"] += result.get("failed", 0)
