"""RDF4J's reader and walcore's on the same directories: sound, damaged, and left by a power cut."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))
import odd_logs
import readers
import stories
import traces
from original import FIELDS
from tally import LONG
from traces import Story

pytestmark = pytest.mark.interop
DAMAGED, STORIES, OF_A_STORY = (2000, 60, 20) if LONG else (80, 5, 4)


def by_rdf4j(command: list[str], directories: list[Path]) -> list[tuple[list[readers.Row], str]]:
    """What RDF4J's side reads of each, and how its reading ended; one process for all."""
    *java, _ = command  # the last word is the harness's class: its call for one directory is called for each here
    done = subprocess.run(
        [*java, Path(__file__).with_name("Dumps.java")],
        input="".join(f"{directory}\n" for directory in directories), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[tuple[list[readers.Row], str]] = []
    rows: list[readers.Row] = []
    for line in done.stdout.splitlines():
        told = json.loads(line)
        if "end" in told:
            found.append((rows, told["end"]))
            rows = []
        elif "last" not in told:
            rows.append(tuple(told[name] for name in FIELDS))
    assert len(found) == len(directories)
    return found


def compare(command: list[str], directories: Iterable[Path], at_least: float) -> None:
    """Read all, and look for what isn't on the list; so many must be alike to the record."""
    all_of_them = list(directories)
    alike = 0
    for directory, (rows, end) in zip(all_of_them, by_rdf4j(command, all_of_them), strict=True):
        assert readers.against_the_independent(directory) is None, directory
        had_to_agree, wrong = readers.against_the_original(directory, rows, end)
        assert wrong is None, directory
        alike += had_to_agree
    print(f"three readers: {len(all_of_them)} directories, {alike} alike to the record, the others as listed")
    assert alike >= at_least * len(all_of_them)


def test_sound_and_damaged_logs_are_read_alike(command: list[str], shared: Path, tmp_path: Path) -> None:
    logs = odd_logs.sound(tmp_path)
    logs += [shutil.copytree(shared / "golden" / name / "wal", tmp_path / name) for name in odd_logs.GOLDEN]
    compare(command, logs, 1)
    compare(command, odd_logs.all_damaged(logs, tmp_path, range(DAMAGED)), 0.5)


def test_what_a_power_cut_leaves_is_read_alike(command: list[str], shared: Path, tmp_path: Path) -> None:
    told = [Story(policy, steps) for policy in stories.POLICIES for steps in stories.invented(1, STORIES)]
    left = []
    for number, recording in enumerate(traces.record(told, tmp_path / "stories")):
        for state in recording.sample(traces.MODELS[number % 2], 1, OF_A_STORY, set()):
            left.append(tmp_path / f"left-{number}-{state.id}" / "wal")
            traces.write(state.tree, left[-1].parent)
            left[-1].mkdir(exist_ok=True)
    compare(command, left, 0.8)
