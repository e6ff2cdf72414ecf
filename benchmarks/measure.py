"""Runs in processes of their own, taken in turns so that a machine's moods hit both sides alike."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

from parameters import SCALES

HERE = Path(__file__).parent
Run = Callable[[], float]


class RunError(Exception):
    """A run failed; `package` is the folder of the walcore it used, None for the installed one."""

    def __init__(self, message: str, package: Path | None) -> None:
        super().__init__(message)
        self.package = package


@dataclass(frozen=True)
class Pairs:
    """Rates a second of two sides, run by run in turns."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours by theirs, pair by pair: what both shared is gone from them."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)


def in_turns(rounds: int, ours: Run, theirs: Run) -> Pairs:
    """Both sides `rounds` times; who begins changes from pair to pair."""
    pairs = Pairs([], [])
    sides = [(pairs.ours, ours), (pairs.theirs, theirs)]
    for number in range(rounds):
        for rates, run in sides if number % 2 == 0 else reversed(sides):
            rates.append(run())
    return pairs


class Workplace:
    """A folder on the disk that is measured, empty again after each run."""

    def __init__(self, parent: Path, scale: str) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="walcore-bench-", dir=parent))
        self.scale = scale
        self.parameters = SCALES[scale]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def on_new_folder(self, run: Callable[[Path], float]) -> float:
        """Run on a path where nothing is, with nothing of earlier runs left to be written."""
        path = self.folder / "run"
        os.sync()
        try:
            return run(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)

    def ask(self, question: str, log: Path | None = None, package: Path | None = None) -> float:
        """A question of run.py, put to the installed walcore or to that in the folder `package`."""
        return self.on_new_folder(lambda path: float(self.script("run.py", question, path, log, package=package)))

    def probe(self, question: str) -> list[float]:
        """The numbers that a question of probes.py gives."""
        numbers: list[float] = []

        def run(path: Path) -> float:
            numbers.extend(map(float, self.script("probes.py", question, path).split()))
            return 0

        self.on_new_folder(run)
        return numbers

    def script(self, name: str, question: str, path: Path, log: Path | None = None, package: Path | None = None) -> str:
        """What one of the scripts here prints."""
        command = [sys.executable, *map(str, (HERE / name, question, self.scale, path, *([log] if log else [])))]
        environment = os.environ | ({"PYTHONPATH": str(package)} if package else {})
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            msg = f"{name} {question} failed:\n{done.stderr}"
            raise RunError(msg, package)
        return done.stdout

    def file_system(self) -> str:
        """Its type's name, "tmpfs" for one that is no disk."""
        command = ["df", "--output=fstype", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.split()[-1] if done.returncode == 0 else "unknown file system"
