"""Logs whose sealed segments have an index, and what is found in them."""

from __future__ import annotations

import random
from pathlib import Path

import logs

import walcore

SUFFIX = ".walcore-index"
COUNT = 12_000


def ids_of(kind: str, number: int) -> list[int]:
    """The ids of one segment; those of 'again' come in every segment, and twice in each."""
    draw = random.Random(number)
    if kind == "rising":
        return list(range(number * COUNT, (number + 1) * COUNT))
    if kind == "random":
        return [draw.randint(-(2**31), 2**31 - 1) for _ in range(COUNT)]
    return [*range(5000), *range(7000)]


def write(path: Path, kind: str, segments: int = 3) -> dict[int, int]:
    """A log of sealed segments; returns each id's newest LSN."""
    newest = {}
    with walcore.open(path, store_uuid=logs.STORE, max_segment_bytes=64 << 20) as wal:
        for number in range(segments):
            ids = ids_of(kind, number)
            draw = random.Random(-number)
            lexicals = [f"value {draw.getrandbits(160):x} of some length" for _ in ids]
            first, _ = wal.log_mint_many(ids, "L", lexicals)
            newest |= {id: first + at for at, id in enumerate(ids)}
            wal.rotate()
    return newest


def sealed_in(path: Path) -> list[Path]:
    return sorted(path.glob("*.gz"), key=lambda one: one.stat().st_mtime_ns)


def found(path: Path, id: int) -> int | None:
    record = walcore.find(path, id)
    assert record is None or record.id == id
    return record.lsn if record else None
