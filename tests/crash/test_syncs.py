"""What is synced, and in which order: read off the calls themselves, since a log that forgets a sync works as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faults
import folders
import pytest

from walcore.format import TEMPORARY_SUFFIX

HERE = Path(__file__).parent
# Each child lives the same life, up to its end; of the n-th one the n-th call of these kinds is noted.
PROGRAM = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import faults, walcore, walcore.live
walcore.live.Sealer.submit = lambda *_: None  # its thread would call in between
shim = faults.Shim(Path(sys.argv[2]))
for nth in range(1, 100):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        directory = f"{sys.argv[2]}/{nth}"
        if sys.argv[5:]:
            shutil.copytree(sys.argv[5], directory)
        shim.arm(*sys.argv[3].split(), nth=nth, fault=faults.SLOW)
        with walcore.open(directory, max_segment_bytes=1024) as wal:
            exec(sys.argv[4])
        call, path = shim.met
        os.write(theirs, f"{call} {os.path.basename(path)}".encode())
        os._exit(0)
    os.close(theirs)
    told = os.read(ours, 4096).decode()
    os.close(ours)
    if told == " ":
        break
    print(told)
"""


def calls_of(shim: Path, folder: Path, kinds: str, life: str, *start: Path) -> list[str]:
    """The calls of these kinds that a log makes, opened on a copy of the folder `start`, as "call name", in order."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, HERE, folder, kinds, life, *start],
        env=faults.environment(shim), capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A descriptor keeps the name that its file was made under, before it got its own.
    return done.stdout.replace(f"{TEMPORARY_SUFFIX} (deleted)", "").splitlines()


@pytest.mark.parametrize(
    "life",
    [
        "for id in (1, 2, 3): wal.log_mint(id, 'I', 'x' * 800)\nwal.commit()",
        "for id in (1, 2, 3): wal.log_mint(id, 'I', 'x'); wal.rotate()",
        "for id in (1, 2, 3): wal.log_mint(id, 'I', 'x' * 800); wal.commit()",
    ],
    ids=["full", "rotated", "committed"],
)
def test_a_segment_is_on_disk_before_the_next_one_is_made(shim: Path, tmp_path: Path, life: str) -> None:
    calls = calls_of(shim, tmp_path, "fdatasync fsync link", life)
    steps = [call for call in calls if "wal-" in call]
    expected = []
    for id in (1, 2, 3):
        expected += [f"fdatasync wal-{id}.v1{TEMPORARY_SUFFIX}", f"link wal-{id}.v1", f"fdatasync wal-{id}.v1"]
    assert steps == expected
    # And the name of each is on disk before what follows.
    for id in (1, 2, 3):
        assert calls[calls.index(f"link wal-{id}.v1") + 1].startswith("fsync "), calls


def test_the_state_speaks_of_what_was_synced_before(shim: Path, tmp_path: Path) -> None:
    calls = calls_of(shim, tmp_path, "fdatasync fsync rename", "wal.log_mint(1, 'I', 'x')")
    last = calls.index("fdatasync wal-1.v1")
    assert [call.split()[0] for call in calls[last + 1 :]] == ["fdatasync", "rename", "fsync"], calls
    assert not any(call.startswith("rename") for call in calls[:last])


def test_a_purge_deletes_from_the_end_and_each_deletion_is_on_disk_before_the_next(shim: Path, tmp_path: Path) -> None:
    life = "for id in (1, 2, 3): wal.log_mint(id, 'I', 'x'); wal.rotate()\nwal.purge_all_segments()"
    calls = calls_of(shim, tmp_path, "unlink fsync rename", life)
    begun = calls.index("rename walcore.purge")
    steps = [call.split()[0] if call.startswith("fsync") else call for call in calls[begun:]]
    expected = ["rename walcore.purge", "fsync"]
    for id in (3, 2, 1):
        expected += [f"unlink wal-{id}.v1", "fsync"]
    expected += ["rename walcore.state", "fsync", "unlink walcore.purge", "fsync"]
    assert steps[: len(expected)] == expected


def test_what_a_tear_leaves_is_in_the_quarantine_on_disk_before_it_goes(shim: Path, tmp_path: Path) -> None:
    start = folders.put(tmp_path / "start", wal_1=folders.plain(1, [1, 2])[:-3])
    calls = calls_of(shim, tmp_path, "fdatasync fsync link rename", "pass", start)
    steps = [
        call.split()[0] + (" copy" if ".lsn" in call else " wal-1.v1" if "wal-1.v1" in call else "") for call in calls
    ]
    begun = steps.index("fdatasync copy")
    assert steps[begun : begun + 7] == [
        "fdatasync copy", "link copy", "fsync", "fsync", "fdatasync wal-1.v1", "rename wal-1.v1", "fsync",
    ]  # fmt: skip
