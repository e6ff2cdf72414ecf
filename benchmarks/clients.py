"""Durable commits by the number of clients: walcore and the peers with a group commit of their own, in turns."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from measure import HERE
from standing import AHEAD, OURS, RAW, TASKS, Samples

CLIENTS: Final = (1, 4, 8, 16, 64, 256)
# What the harness's line is around a lexical of 256 characters, and eight bytes of frame.
FRAME_BYTES: Final = 392
SECONDS: Final = 60


@dataclass(frozen=True)
class Built:
    """What the peers' harness left built in its folder, and where its drivers' sources are."""

    folder: Path
    sources: Path

    @property
    def rust(self) -> Path:
        """The driver of the peers in Rust."""
        return self.folder / "rust" / "target" / "release" / "bench_rust"

    def sides(self, data: Path, clients: int, commits: int) -> dict[str, list[str]]:
        """The command of each side that is here; the raw loop and the room ahead are one client's affair."""
        python = str(self.folder / "venv" / "bin" / "python")
        driver = [python, str(HERE / "peer_driver.py")]
        harness = [python, str(self.sources / "bench_python.py")]
        on = ["--dir", str(data), "--n", str(commits), "--clients", str(clients)]
        with_pool = ["w3", *on, "--pool", str(self.folder / "pool256.txt")]
        commands = {
            OURS: [*harness, "walcore", *with_pool],
            TASKS: [*driver, "tasks", *on],
            "plyvel": [*harness, "plyvel", *with_pool],
            "etcd": [str(self.folder / "bench_go"), "etcd", *with_pool],
            "okaywal": [str(self.rust), "okaywal", *with_pool],
        }
        if clients == 1:
            commands[AHEAD] = [*driver, "ahead", *on]
            raw = [str(self.folder / "floors"), "fsync", "append", str(commits), str(FRAME_BYTES)]
            commands[RAW] = [*raw, str(data / "raw")]
        return {side: command for side, command in commands.items() if Path(command[0]).exists()}


def commits_of(clients: int, *, quick: bool) -> int:
    """How many commits in all: more where a sync covers more of them, a multiple of the clients."""
    each = 600 if clients == 1 else 150 if clients <= 16 else 75
    return clients * max(each // (2 if quick else 1), 1)


def measure(built: Built, rounds: int, budget: float, talk: Callable[[str], None], *, quick: bool) -> Samples:
    """Each side at each number of clients, in an order drawn anew; ends early when `budget` seconds are gone."""
    samples: Samples = {}
    data, draw, begin = built.folder / "clients", random.Random(1), time.monotonic()
    for number in range(rounds):
        if number and (time.monotonic() - begin) * (number + 1) / number > budget:
            talk(f"{number} of {rounds} rounds: the time is up")
            break
        for clients in CLIENTS:
            commits = commits_of(clients, quick=quick)
            sides = list(built.sides(data, clients, commits).items())
            draw.shuffle(sides)
            for side, command in sides:
                try:
                    per_s = run([command], data)
                except (subprocess.SubprocessError, ValueError) as exc:
                    talk(f"{side}, {clients} clients: {exc}")
                    continue
                one = {"round": number, "per_s": per_s}
                samples.setdefault(side, {}).setdefault(f"clients-{clients}", []).append(one)
    shutil.rmtree(data, ignore_errors=True)
    return samples


def run(commands: Sequence[Sequence[str]], data: Path) -> float:
    """What the last of these drivers does a second.  The folder is empty, nothing of earlier runs is to be written."""
    shutil.rmtree(data, ignore_errors=True)
    os.sync()
    data.mkdir()
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        if done.returncode:
            print(done.stderr[-500:], file=sys.stderr)
            done.check_returncode()
    said = json.loads(done.stdout.splitlines()[-1])
    return said["per_s"] if "per_s" in said else said["n"] / said["seconds"]
