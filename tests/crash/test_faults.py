"""Every system call of a log's life fails once, and fails for ever after: `sweep.py` tells what must be true then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import faults
import pytest

LONG = bool(os.environ.get("WALCORE_LONG"))
POLICIES = ("COMMIT", "ALWAYS", "INTERVAL")
ONCE = (
    "fdatasync EIO", "fdatasync EINTR", "fsync EIO", "fsync ENOSPC", "write EIO", "write ENOSPC", "write EDQUOT",
    "write EINTR", "write SHORT", "link EIO", "link EPERM", "link ENOSPC", "unlink EIO", "unlink EACCES", "rename EIO",
    "rename ENOSPC", "rename ESTALE", "open EMFILE", "open ENOSPC", "open EIO", "read EIO", "ftruncate EIO",
)  # fmt: skip
# What is interrupted or cut short for ever never ends, as it should.
EVER = tuple(fault for fault in ONCE if not fault.endswith(("EINTR", "SHORT")))
SHORT_FORM = 17  # a call in so many, another one for each kind


@pytest.mark.parametrize(("fault", "how"), [(fault, "once") for fault in ONCE] + [(fault, "ever") for fault in EVER])
def test_a_failing_call_breaks_no_promise_and_hangs_nobody(shim: Path, tmp_path: Path, fault: str, how: str) -> None:
    lives = 0
    for policy in POLICIES if LONG else (POLICIES[ONCE.index(fault) % 3],):
        folder = tmp_path / policy
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("sweep.py"), folder, policy, *fault.split(), how,
             "1" if LONG else str(SHORT_FORM)],
            env=faults.environment(shim), capture_output=True, text=True, check=False, timeout=3600 if LONG else 100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["wrong"] == [], "\n".join(result["wrong"]) + done.stderr
        assert result["met"] > 0 or fault.startswith("ftruncate")
        lives += result["lives"]
    print(f"{fault} {how}: {lives} lives, 0 promises broken, 0 hangs")
