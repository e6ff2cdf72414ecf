"""Logs that are opened, used, misused, dropped and closed leave nothing behind: no memory, descriptor or thread."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from tally import LONG, Tally

PROGRAM = Path(__file__).with_name("rounds.py")
PORTION = 2000
Sample = dict[str, int]


@contextmanager
def player(folder: Path) -> Iterator[subprocess.Popen[str]]:
    # One arena: which thread's arena a block comes from is chance, and so is how much of each is resident.
    with subprocess.Popen(
        [sys.executable, PROGRAM, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"MALLOC_ARENA_MAX": "1"},
    ) as process:
        yield process


def rounds(process: subprocess.Popen[str], numbers: range) -> Sample:
    """What the process holds after having played these rounds."""
    ask, answer = cast_pipes(process)
    ask.write(f"{numbers.start} {numbers.stop}\n")
    ask.flush()
    line = answer.readline()
    assert line, f"the rounds {numbers.start} to {numbers.stop} ended the process"
    sample: Sample = json.loads(line)
    return sample


def cast_pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def test_a_round_played_again_leaves_nothing_behind(tmp_path: Path) -> None:
    again = range(200)
    with player(tmp_path) as process:
        for _ in range(3):  # caches fill
            before = rounds(process, again)
        after = rounds(process, again)
    assert after["threads"] == before["threads"]
    assert after["descriptors"] == before["descriptors"]
    # Less than half a block, and less than a waiting thread's struct, in each round.
    assert after["blocks"] - before["blocks"] < len(again) / 2
    assert after["malloced"] - before["malloced"] < 64 * len(again)


@pytest.mark.skipif(not LONG, reason="a million rounds take hours: WALCORE_LONG=1")
def test_a_million_logs_grow_nothing(tmp_path: Path) -> None:
    tally = Tally("leaks")
    begun, samples = tally.done, []
    with player(tmp_path) as process:
        for numbers in tally.numbers(0, 1_000_000, PORTION):
            samples.append(rounds(process, numbers))
            print(numbers.stop, samples[-1], flush=True)
    quarter = max(1, len(samples) // 4)
    growth = {
        what: statistics.median(sample[what] for sample in samples[-quarter:])
        / statistics.median(sample[what] for sample in samples[1 : 1 + quarter])
        - 1
        for what in samples[0]
    }
    told = ", ".join(f"{what} {value:+.2%}" for what, value in growth.items())
    print(f"{tally.done} of 1000000 rounds, {tally.done - begun} of them in this run: {told}")
    assert max(growth.values()) < 0.01
