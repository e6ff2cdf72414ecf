"""What is played on a log whose power fails: told stories, every short sequence of operations, and seeded inventions.

A story is a line of `player.py`'s steps.  Each is played under each of the three policies.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Final

POLICIES: Final = ("ALWAYS", "COMMIT", "INTERVAL")
TOLD: Final = {
    "fill, seal, close": "append:5 promise append:14 promise seal close open append:2 promise close",
    "threads, rotation, purge": "threads:3 rotate threads:2 seal purge threads:2 close",
    "each record on disk": "append:9 crash append:3 crash append:8 seal crash append:2 close open append:1",
    "by the interval": "append:9 promise rotate append:4 sync purge append:12 flush crash append:3 promise",
    "killed again and again": "append:3 flush crash append:9 flush crash append:7 promise append:7 flush crash open",
    "frames larger than a segment": "large:1 promise append:2 large:1 promise rotate crash large:1 promise",
    "many at once": "many:14 promise many:20 flush crash many:5 promise seal purge many:5 promise close open purge",
    "purge of many": "append:26 promise purge append:2 promise",
    "purge upon purge": "purge append:1 purge purge append:1 rotate rotate append:1 rotate purge close",
    "opened and hardly anything else": "open close open crash open append:1 promise crash open close open crash",
    "a purge after a kill": "append:7 promise append:7 flush crash purge append:3 promise crash purge append:1 promise",
    "threads, killed": "threads:4 crash threads:2 append:2 flush crash threads:2",
    "sealed while the next is written": "append:13 rotate append:9 rotate append:3 promise seal crash append:1 promise",
    "closed and opened by turns": "append:2 close open append:2 close open append:14 close open append:1 close",
    "rotated at every record": "append:1 rotate append:1 promise rotate append:1 rotate seal append:1 crash rotate",
}

OPERATIONS: Final = {
    "open": "open", "append": "append:4", "commit": "promise", "rotate": "rotate", "seal": "seal", "purge": "purge",
    "close": "close",
}  # fmt: skip
LONGEST: Final = 4


def sequences() -> Iterable[tuple[str, ...]]:
    """Every sequence of one to four operations: 7 + 49 + 343 + 2,401 = 2,800."""
    for length in range(1, LONGEST + 1):
        yield from itertools.product(OPERATIONS, repeat=length)


def steps_of(sequence: Iterable[str]) -> str:
    """A sequence as a story.

    An operation on a log that isn't open opens it first; `open` of a log that is open happens in a new process, after
    the old one was killed.  So each of the 2,800 means something, and some mean the same.
    """
    steps: list[str] = []
    is_open = False
    for operation in sequence:
        if operation == "open":
            steps += ["crash", "open"] if is_open else ["open"]
        else:
            steps += [OPERATIONS[operation]] if is_open else ["open", OPERATIONS[operation]]
        is_open = operation != "close"
    return " ".join(steps)


def short_stories() -> list[str]:
    """The stories that all sequences come to, each once, in order."""
    return list(dict.fromkeys(map(steps_of, sequences())))


def invented(seed: int, count: int) -> list[str]:
    """Stories of five to nine steps, any step in any place, and a record in the end, or some leave nothing."""
    dice = random.Random(f"story {seed}")
    steps = ["append:1", "append:2", "append:5", "many:3", "many:7", "threads:2", "large:1", "promise", "promise",
             "rotate", "seal", "flush", "sync", "purge", "crash", "crash", "close open"]  # fmt: skip
    return [" ".join([*dice.choices(steps, k=dice.randint(5, 9)), "append:1", "promise"]) for _ in range(count)]
