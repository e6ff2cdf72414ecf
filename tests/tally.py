"""Long checks add up: a count goes on where the run before stopped, and a run ends when its time is over.

Without WALCORE_LONG=1 a check does its short form and keeps nothing.  With it, it works for WALCORE_MINUTES (30) at
most, and its count goes on from the file that bears its name in the folder WALCORE_TALLY, if that is set.  The count is
also the seed: what a run has done is not done again, and a failure names the number that shows it again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

LONG = bool(os.environ.get("WALCORE_LONG"))


class Tally:
    """How often the check `name` was done so far, in this run and in those before."""

    def __init__(self, name: str) -> None:
        folder = os.environ.get("WALCORE_TALLY") if LONG else None
        self._file = Path(folder) / name if folder else None
        known = self._file.read_text().split() if self._file and self._file.exists() else []
        self.done = int(known[0]) if known else 0
        self.more = int(known[1]) if known else 0
        """A second figure, of what was done on the way: promises, calls."""

    def numbers(self, short: int, long: int, at_a_time: int = 1) -> Iterator[range]:
        """The numbers still to be done, some at a time; what was yielded counts once the next is asked for."""
        end = time.monotonic() + float(os.environ.get("WALCORE_MINUTES", "30")) * 60
        goal = long if LONG else short
        while self.done < goal and (not LONG or time.monotonic() < end):
            chosen = range(self.done, min(goal, self.done + at_a_time))
            yield chosen
            self.done = chosen.stop
            self._keep()

    def _keep(self) -> None:
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_suffix(".new")
            aside.write_text(f"{self.done} {self.more}\n")
            aside.replace(self._file)
