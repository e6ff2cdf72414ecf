"""What a log holds: `ValueKind`, and `Record` as readers yield it."""

from __future__ import annotations

from enum import StrEnum

from walcore._core.record import Record


class ValueKind(StrEnum):
    """What a value is; the member's value is its letter on disk, and either is taken wherever a kind is."""

    IRI = "I"
    BNODE = "B"
    LITERAL = "L"
    NAMESPACE = "N"


__all__ = ["Record", "ValueKind"]
