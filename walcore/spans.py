"""Sets of LSNs as ranges: a log of millions of records has a handful of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Spans:
    """A set of integers, kept as disjoint ranges in order; adding them in order takes no time and no room."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._sorted = True
        for first, last in ranges:
            self._put(first, last)

    def add(self, number: int) -> None:
        """Put `number` in."""
        self._put(number, number)

    def _put(self, first: int, last: int) -> None:
        if self._ranges and first == self._ranges[-1][1] + 1:
            self._ranges[-1] = (self._ranges[-1][0], last)
        else:
            self._sorted = self._sorted and (not self._ranges or first > self._ranges[-1][1])
            self._ranges.append((first, last))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, first and last number, in order."""
        if not self._sorted:
            ranges, self._ranges, self._sorted = sorted(self._ranges), [], True
            for first, last in ranges:
                if self._ranges and first <= self._ranges[-1][1] + 1:
                    self._ranges[-1] = (self._ranges[-1][0], max(last, self._ranges[-1][1]))
                else:
                    self._ranges.append((first, last))
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    @property
    def first(self) -> int:
        """The least number; 0 of none."""
        return min((first for first, _ in self), default=0)

    @property
    def last(self) -> int:
        """The greatest number; 0 of none."""
        return max((last for _, last in self), default=0)

    def __or__(self, other: Spans) -> Spans:
        return Spans(sorted([*self, *other]))

    def __sub__(self, other: Spans) -> Spans:
        left, others, at = Spans(), list(other), 0
        for first, last in self:
            start = first
            while at < len(others) and others[at][1] < start:
                at += 1
            for taken, end in others[at:]:
                if taken > last:
                    break
                if taken > start:
                    left._put(start, taken - 1)
                start = max(start, end + 1)
            if start <= last:
                left._put(start, last)
        return left

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Spans({list(self)})"
