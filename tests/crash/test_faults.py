"""Every system call of a log's life fails once, and fails for ever after: `sweep.py` tells what must be true then.

A portion is one story under one fault: a life under one policy, or the looks at one scene.  The long form takes them
call by call and adds up, see `tally.py`; a failure names the command that shows it again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import faults
import looks
from tally import LONG, Tally

SYNCS = ("fdatasync", "fsync")
CALLS = (
    "write", *SYNCS, "open", "read", "link", "rename", "unlink", "ftruncate", "fcntl", "mkdir", "stat", "readdir",
    "lseek",
)  # fmt: skip
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR", "EAGAIN", "EMFILE", "EACCES", "ESTALE")
POLICIES = ("COMMIT", "ALWAYS", "INTERVAL")
LIVES = [
    (policy, call, error, how)
    for call in CALLS
    for error in (*ERRORS, *(["SHORT"] if call in ("read", "write") else []))
    for how in ("once", "ever")
    for policy in POLICIES
    if (error, how) != ("EINTR", "ever")  # which never ends, as it should
]
LOOKS = [(scene, *fault) for scene in looks.SCENES for policy, *fault in LIVES if policy == POLICIES[0]]
STRIDE = 1 if LONG else 19
"""In the short form a call in so many fails."""
SPREAD = 89
"""A prime: neighbours in number differ in call, error and policy."""


def sweep(
    shim: Path | None, folder: Path, portions: list[tuple[str, ...]], number: int, stride: int = STRIDE
) -> dict[str, Any]:
    """The portion of that number; from the last on they begin anew with other lives."""
    seed, place = divmod(number, len(portions))
    story, *fault = portions[place * SPREAD % len(portions)]
    where = folder / str(number)
    where.mkdir()
    program = [sys.executable, Path(__file__).with_name("sweep.py"), where, story, str(seed), *fault, str(stride)]
    done = subprocess.run(
        program,
        env=faults.environment(shim) if shim else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600 if LONG else 200,
    )
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    # Of a log that is only looked at most kinds of calls aren't made.
    assert result.get("met") or story in looks.SCENES or not shim, f"{program}: no call was made to fail"
    if fault[1] != "LIE":
        assert result["wrong"] == [], f"{program}: {done.stdout}{done.stderr}"
    return result


def test_a_failing_call_breaks_no_promise_and_hangs_nobody(shim: Path, tmp_path: Path) -> None:
    tally = Tally("lives under faults")
    for numbers in tally.numbers(len(LIVES) // 40, len(LIVES)):
        tally.more += sweep(shim, tmp_path, LIVES, numbers[0])["runs"]
    print(f"{tally.more} lives, {tally.done} of {len(LIVES)} faults: 0 false promises, 0 hangs, 0 not reopened")


def test_a_write_that_lies_is_found_out(shim: Path, tmp_path: Path) -> None:
    """The check bites: writes that say they are done and do nothing leave holes in what was promised."""
    assert sweep(shim, tmp_path, [("COMMIT", "write", "LIE", "once")], 0, stride=3)["wrong"]


def test_it_is_the_same_with_the_faults_of_walcore_testing(tmp_path: Path) -> None:
    """Which reach the core in place of C's calls, and need neither a compiler nor Linux."""
    tally = Tally("lives on a disk of walcore.testing")
    for numbers in tally.numbers(len(LIVES) // 60, len(LIVES)):
        tally.more += sweep(None, tmp_path, LIVES, numbers[0])["runs"]
    print(f"{tally.more} lives, {tally.done} of {len(LIVES)} faults of walcore.testing: 0 false promises, 0 hangs")


def test_a_failed_reading_is_told_and_is_never_taken_for_the_end(shim: Path, tmp_path: Path) -> None:
    tally = Tally("looks under faults")
    for numbers in tally.numbers(len(LOOKS) // 53, len(LOOKS)):
        tally.more += sweep(shim, tmp_path, LOOKS, numbers[0])["runs"]
    print(f"{tally.more} looks and openings, {tally.done} of {len(LOOKS)} faults: 0 taken for an end, 0 logs changed")


def test_after_a_failed_sync_the_log_promises_nothing(shim: Path, tmp_path: Path) -> None:
    """Nor is a file synced again: the kernel may have dropped what it could not write, and say that all is well."""
    syncs = [life for life in LIVES if life[1] in SYNCS and life[2] != "EINTR"]
    tally = Tally("failed syncs")
    for numbers in tally.numbers(3, 20 * len(syncs)):
        tally.more += sweep(shim, tmp_path, syncs, numbers[0]).get("failed", 0)
        if tally.more >= 2000:
            break
    print(f"{tally.more} logs failed by a sync: 0 promises after it, 0 syncs tried again")
    assert tally.more > 0
