"""The checker of histories finds what it is there to find: each of these is a history that no log may have."""

from __future__ import annotations

import pytest
from history import CLOSE, DURABLE, GIVEN, LOG, PURGE, READ, WRITTEN, Call, History


def log(begin: int, end: int, low: int, *ids: int, high: int = 0) -> Call:
    return Call(LOG, begin, end, low, high or low + len(ids) - 1, ids=ids, exact=True)


def value(what: str, begin: int, end: int, of: int) -> Call:
    return Call(what, begin, end, of, exact=True)


def read(begin: int, end: int, *lsns: int, complete: bool = True) -> Call:
    """With ids that are ten times the LSN."""
    return Call(READ, begin, end, rows={lsn: 10 * lsn for lsn in lsns}, exact=complete)


def judge(calls: list[Call], left: dict[int, int]) -> None:
    history = History()
    history.notes().calls += calls
    history.check(left)


ONE, TWO = log(1, 2, 1, 10), log(3, 4, 2, 20)
BOTH = {1: 10, 2: 20}
MANY = log(1, 6, 1, 10, 20, 30, high=4)
GOOD: dict[str, tuple[list[Call], dict[int, int]]] = {
    "one after the other": ([ONE, TWO, value(GIVEN, 5, 6, 2), value(DURABLE, 7, 8, 0), read(9, 10, 1, 2)], BOTH),
    "at once, the later first": ([log(1, 4, 2, 20), log(2, 3, 1, 10), value(GIVEN, 5, 6, 2)], BOTH),
    "a purge between": ([ONE, Call(PURGE, 3, 4), log(5, 6, 2, 20), read(7, 8, 2), read(9, 10, 2)], {2: 20}),
    "a purge at once with a record": ([ONE, Call(PURGE, 3, 6), log(4, 5, 2, 20), read(7, 8)], {}),
    "another's LSN between": ([MANY, log(2, 3, 3, 70)], {1: 10, 2: 20, 3: 70, 4: 30}),
}
WRONG: dict[str, tuple[list[Call], dict[int, int], str]] = {
    "an LSN twice": ([ONE, log(1, 4, 1, 20)], {1: 10}, "given twice"),
    "LSNs against the clock": ([log(1, 2, 2, 20), log(3, 4, 1, 10)], BOTH, "began when 2 was given"),
    "an LSN that had been told": ([ONE, value(GIVEN, 3, 4, 2), log(5, 6, 2, 20)], BOTH, "nobody had logged"),
    "a counter that falls": ([ONE, TWO, value(WRITTEN, 5, 6, 2), value(WRITTEN, 7, 8, 1)], BOTH, "fell from 2"),
    "durable before written": ([ONE, value(DURABLE, 3, 4, 1), value(WRITTEN, 5, 6, 0)], {1: 10}, "fell from 1"),
    "last behind what was given": ([ONE, TWO, value(GIVEN, 5, 6, 1)], BOTH, "fell from 2"),
    "a promise forgotten": ([ONE, Call(DURABLE, 3, 4, 1), value(DURABLE, 5, 6, 0)], {1: 10}, "fell from 1"),
    "durable before it is logged": ([ONE, value(DURABLE, 3, 4, 2), log(5, 6, 2, 20)], BOTH, "nobody had logged"),
    "a record after the end": ([ONE, Call(CLOSE, 3, 4), log(5, 6, 2, 20)], BOTH, "after the log was closed"),
    "a loss": ([ONE, TWO], {1: 10}, "a hole"),
    "a loss at the beginning": ([ONE, TWO], {2: 20}, "purged were 0 to 0"),
    "a purge undone": ([ONE, Call(PURGE, 3, 4), log(5, 6, 2, 20)], BOTH, "purged were 1 to 1"),
    "a purge of what came later": ([ONE, Call(PURGE, 3, 4), log(5, 6, 2, 20)], {}, "purged were 1 to 1"),
    "another's id": ([ONE, TWO], {1: 20, 2: 10}, "left with 20"),
    "a reader ahead": ([ONE, read(3, 4, 1, 2), log(5, 6, 2, 20)], BOTH, "not logged by then"),
    "a reader behind": ([ONE, TWO, Call(WRITTEN, 5, 6, 2), read(7, 8, 1)], BOTH, "began when 2 was written"),
    "a reader of holes": ([ONE, TWO, log(5, 6, 3, 30), read(7, 8, 1, 3)], BOTH | {3: 30}, "with holes"),
    "a reader of the dead": ([ONE, Call(PURGE, 3, 4), TWO, read(7, 8, 1)], {2: 20}, "all up to 1 was purged"),
    "a reader of half a log": ([ONE, TWO, read(7, 8, 2)], BOTH, "at most 0 was purged"),
    "a reader who complains": ([ONE, read(3, 4, 1, complete=False)], {1: 10}, "incomplete"),
    "rows in another order": ([MANY, log(2, 3, 3, 70)], {1: 20, 2: 10, 3: 70, 4: 30}, "is left of"),
    "a row too few": ([MANY, log(2, 3, 3, 70)], {1: 10, 2: 20, 3: 70, 4: 80}, "ends with"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_with_an_order_is_accepted(name: str) -> None:
    judge(*GOOD[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_history_without_an_order_is_refused(name: str) -> None:
    calls, left, law = WRONG[name]
    with pytest.raises(AssertionError, match=law):
        judge(calls, left)
