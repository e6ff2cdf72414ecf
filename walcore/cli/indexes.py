"""What `info` and `verify` tell of the indexes beside sealed segments."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from walcore.cli.output import count, size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from walcore.segments import Segment


def indexed(wal: Path, segments: Iterable[Segment], *, pages: bool) -> dict[str, Any]:
    """How many indexes fit their segments, don't, or are damaged, and the bytes of all; `pages`: read them in full."""
    from walcore.index import IndexState, check_index
    from walcore.segments import Directory

    states: Counter[IndexState] = Counter()
    total = 0
    with Directory(wal) as directory:
        for segment in segments:
            if segment.sealed:
                state, length = check_index(directory, segment.name, pages=pages)
                states[state] += 1
                total += length
    return {
        "indexes": states[IndexState.SOUND],
        "indexes_stale": states[IndexState.STALE],
        "indexes_damaged": states[IndexState.DAMAGED],
        "index_bytes": total,
    }


def described(facts: dict[str, Any]) -> str:
    """The same in words."""
    words = f"{count(facts['indexes'])} of sealed segments, {size(facts['index_bytes'])}"
    stale, damaged = facts["indexes_stale"], facts["indexes_damaged"]
    if stale:
        words += f"; {count(stale)} of another file: the next opening makes them anew"
    if damaged:
        words += f"; {count(damaged)} damaged: delete them, the next opening makes them anew"
    return words
