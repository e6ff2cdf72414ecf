"""Sets of LSNs as ranges, beside Python's own sets."""

from __future__ import annotations

import itertools

import pytest

from walcore.spans import Spans

SETS = [set(some) for size in range(6) for some in itertools.combinations(range(1, 6), size)]


def spans(numbers: set[int]) -> Spans:
    found = Spans()
    for number in sorted(numbers):
        found.add(number)
    return found


def numbers(found: Spans) -> list[int]:
    return [number for first, last in found for number in range(first, last + 1)]


@pytest.mark.parametrize("one", SETS, ids=str)
def test_sets_of_ranges_do_what_sets_do(one: set[int]) -> None:
    found = spans(one)
    assert numbers(found) == sorted(one)
    assert bool(found) == bool(one)
    assert (found.first, found.last) == (min(one, default=0), max(one, default=0))
    for other in SETS:
        assert numbers(spans(one) | spans(other)) == sorted(one | other)
        assert numbers(spans(one) - spans(other)) == sorted(one - other)
        assert (spans(one) == spans(other)) == (one == other)


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 4, 5])), ids=str)
def test_numbers_in_any_order_and_again_become_the_fewest_ranges(order: tuple[int, ...]) -> None:
    found = Spans((number, number) for number in [*order, *order])
    assert list(found) == [(1, 2), (4, 5)]
    found.add(3)
    assert list(found) == [(1, 5)]
    assert repr(found) == "Spans([(1, 5)])"


def test_ranges_that_overlap_or_lie_in_another_become_one() -> None:
    assert list(Spans([(5, 9), (1, 20), (3, 4), (15, 30)])) == [(1, 30)]
    assert list(Spans([(1, 20)]) - Spans([(5, 9), (15, 16)])) == [(1, 4), (10, 14), (17, 20)]
    assert Spans([(1, 2)]) != [(1, 2)]
