"""A process killed at any moment loses nothing that it was promised, and the next one goes on where it stood."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import kills
from tally import Tally

PORTION = 10 * kills.KILLS_OF_A_LOG
LONG_RUN = 21_500
"""Kills in which ten million records are promised."""


def test_killed_writers_lose_nothing_promised(tmp_path: Path) -> None:
    tally = Tally("kills")
    # Forked from a process that has only one thread, and walcore imported.
    program = subprocess.Popen(
        [sys.executable, kills.__file__, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with program:
        for numbers in tally.numbers(300, LONG_RUN, PORTION):
            program.stdin.write(f"{numbers.start} {numbers.stop}\n")
            program.stdin.flush()
            line = program.stdout.readline()
            assert line, f"something was lost: python {kills.__file__} FOLDER <<< '{numbers.start} {numbers.stop}'"
            tally.more += json.loads(line)["promised"]
        program.stdin.close()
    print(f"{tally.done} kills, {tally.more} promised records, 0 lost")
    assert tally.more > 0
