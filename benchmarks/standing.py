"""Where walcore stands among its peers: from the samples of both harnesses to the rows of the table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Final

from measure import Pairs
from rows import Row, row

# side -> what was measured -> one sample a round: {"round": 0, "per_s": 5000.0, ...}
Samples = dict[str, dict[str, list[dict[str, float]]]]

OURS: Final = "walcore"
TASKS: Final = "walcore, asyncio tasks"
AHEAD: Final = "walcore, 1 MiB allocated ahead"
RECORDS: Final = "walcore, Record objects"
ARROW: Final = "walcore, Arrow batches"
COUNTS: Final = "walcore, checked alone"
RAW: Final = "raw append loop"
DECODER: Final = "raft-engine"
"""The peer that reads back fastest."""
# What no promise can be compared with: ourselves, the machine's own limits, and a store that doesn't sync.
NO_PEERS: Final = frozenset({OURS, TASKS, AHEAD, RECORDS, ARROW, COUNTS, RAW, "floor", "sqlite-normal"})
ADDED_MB: Final = 8
SYNCS: Final = 5
"""So many should the slowest of a hundred commits wait for at most."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row: whom to compare with in which of the measurements, and what ratio is the goal."""

    text: str
    work: str
    """The harness's name of the measurement: `w1-32`."""
    goal: float | None = None
    rival: str | None = None
    """None: the best peer, whoever that is."""
    ours: str = OURS


# A part of the table each.
APPEND: Final = (
    Question(text="append, 32 B", work="w1-32", goal=1.5),
    Question(text="append, 256 B", work="w1-256", goal=1.5),
)
COMMIT: Final = (
    Question(text="commit each record, 1 client, 32 B", work="w2-32", rival=RAW, goal=0.98),
    Question(text="commit each record, 1 client, 256 B", work="w2-256", rival=RAW, goal=0.98),
    Question(text="... the best peer", work="w2-256"),
    Question(text="... 1 MiB allocated ahead", work="clients-1", rival=RAW, goal=1.2, ours=AHEAD),
    Question(text="commit each record, 8 threads", work="w3x8", rival="plyvel", goal=1.4),
    Question(text="... the best peer", work="w3x8"),
    Question(text="commit each record, 64 asyncio tasks", work="clients-64", rival="etcd", ours=TASKS),
    Question(text="commit each record, 64 threads", work="w3x64", rival="plyvel", goal=1.8),
    Question(text="... ahead of okaywal", work="w3x64", rival="okaywal", goal=1),
    Question(text="... the best peer", work="w3x64"),
)
SCAN: Final = (
    Question(text="read back as Record objects, 32 B", work="reading", rival=DECODER, goal=1.5, ours=RECORDS),
    Question(text="... as Arrow batches", work="reading", rival=DECODER, ours=ARROW),
    Question(text="... checked alone", work="reading", rival=DECODER, ours=COUNTS),
    Question(text="... four fields of each in a Python loop", work="w4-32", rival=DECODER, goal=1.5),
    Question(text="... the same, 256 B", work="w4-256", rival=DECODER, goal=1.5),
)


def with_raw_loop(samples: Samples) -> Samples:
    """The same with the raw loop as a side of its own: the harness tells what multiple of it walcore's rate was."""
    raw = {
        work: [{"round": one["round"], "per_s": one["per_s"] / one["vs_append"]} for one in rounds]
        for work, rounds in samples.get(OURS, {}).items()
        if all("vs_append" in one for one in rounds)
    }
    return samples | ({RAW: raw} if raw else {})


def pairs(samples: Samples, work: str, ours: str, theirs: str) -> Pairs:
    """The rates of the rounds in which both sides ran; empty where there are none."""
    left, right = (
        {one["round"]: one["per_s"] for one in samples.get(side, {}).get(work, []) if "per_s" in one}
        for side in (ours, theirs)
    )
    both = sorted(left.keys() & right.keys())
    return Pairs([left[number] for number in both], [right[number] for number in both])


def best_peer(samples: Samples, work: str, ours: str = OURS) -> str | None:
    """The peer with the highest median rate of those that ran beside us, None if nobody did."""
    rates = {
        peer: median(both.theirs)
        for peer in samples.keys() - NO_PEERS
        if (both := pairs(samples, work, ours, peer)).theirs
    }
    return max(sorted(rates), key=rates.__getitem__, default=None)


def answer(samples: Samples, question: Question) -> Row:
    """The row of a question, which says so where it could not be measured."""
    rival = question.rival or best_peer(samples, question.work, question.ours)
    both = pairs(samples, question.work, question.ours, rival) if rival else Pairs([], [])
    if not both.ours:
        return Row(
            question=question.text, walcore="", rival=f"not measured: {rival or 'no peer'} did not run beside it"
        )
    assert rival
    return row(question.text, rival, both, question.goal)


def memory(samples: Samples) -> Row:
    """What a bulk load adds to the process."""
    return less(samples, "memory that the load of 256 B adds", "w1-256", "rss_added_mb", "MB", ADDED_MB)


def latency(samples: Samples) -> Row:
    """How long all but one of a hundred commits take at most, where 64 threads commit; the goal is in syncs."""
    raw = samples.get(RAW, {}).get("w2-256", [])
    most = SYNCS * 1000 / median(one["per_s"] for one in raw) if raw else None
    return less(samples, "... 99 of 100 take at most", "w3x64", "p99_us", "ms", most, per=1000)


def less(samples: Samples, question: str, work: str, key: str, unit: str, most: float | None, *, per: float = 1) -> Row:
    """A row of what should be little: walcore's median, who of the peers has the least, and the goal.

    `per` of what `key` counts are a `unit`.
    """
    found = {
        side: median(one[key] for one in works[work]) / per
        for side, works in samples.items()
        if key in works.get(work, [{}])[0] and (side == OURS or side not in NO_PEERS)
    }
    if OURS not in found:
        return Row(question=question, walcore="", rival="not measured")
    ours = found.pop(OURS)
    least = min(sorted(found), key=found.__getitem__, default=None)
    return Row(
        question=question,
        walcore=f"{ours:.1f} {unit}",
        rival=f"{least}: {found[least]:.1f} {unit}" if least else "",
        goal="" if most is None else f"< {most:.2g} {unit}",
        reached=None if most is None else ours < most,
    )


def rows(harness: Samples, *others: Samples) -> Iterator[list[Row]]:
    """The table, a part a kind of question, of the samples of the peers' harness and of our own runs."""
    both = with_raw_loop(harness)
    for side, works in chain.from_iterable(samples.items() for samples in others):
        both[side] = both.get(side, {}) | works
    yield [answer(both, question) for question in APPEND]
    yield [*(answer(both, question) for question in COMMIT), latency(both)]
    yield [answer(both, question) for question in SCAN]
    yield [memory(harness)]


def left_out(harness: Samples, groups: dict[str, Collection[str]]) -> list[str]:
    """The kinds of peers of which not one ran."""
    return [name for name, peers in groups.items() if not any(harness.get(peer) for peer in peers)]
