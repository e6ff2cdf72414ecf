"""The records that walcore and its rivals log: those of the original's harness, so that the frames are the same."""

from __future__ import annotations

from typing import Final

Columns = tuple[list[int], list[str], list[int]]
_MAX_CHARS: Final = 1024
# The weight that String.hashCode gives the last character, the one before it, and so on, from the right.
_WEIGHTS: Final = [31**place & 0xFFFF_FFFF for place in reversed(range(_MAX_CHARS))]


def columns(records: int, chars: int) -> Columns:
    """Ids from 1, lexicals `value-0-xxx…`, and Java's hashes of them."""
    values = [value(number, chars) for number in range(records)]
    return list(range(1, records + 1)), values, [java_hash(text) for text in values]


def value(number: int, chars: int) -> str:
    """`chars` characters that begin with the number."""
    return f"value-{number}-".ljust(chars, "x")[:chars]


def java_hash(text: str) -> int:
    """What `String.hashCode` gives for an ASCII text of at most 1024 characters."""
    total = sum(map(int.__mul__, text.encode("ascii"), _WEIGHTS[_MAX_CHARS - len(text) :])) & 0xFFFF_FFFF
    return total - (1 << 32) if total >> 31 else total
