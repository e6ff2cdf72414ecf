"""What can be wrong with a log: the kinds of damage, and one case of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class FaultKind(StrEnum):
    """What a reader can meet; the member's value is its name in reports."""

    TORN_TAIL = "torn_tail"
    CORRUPT_FRAME = "corrupt_frame"
    INVALID_RECORD = "invalid_record"
    MISSING_SEGMENT = "missing_segment"
    DUPLICATE_SEGMENT = "duplicate_segment"
    EMPTY_SEGMENT = "empty_segment"
    UNREADABLE_SEGMENT = "unreadable_segment"
    MISSING_SUMMARY = "missing_summary"
    SUMMARY_MISMATCH = "summary_mismatch"
    TRUNCATED_GZIP = "truncated_gzip"
    FOREIGN_STORE = "foreign_store"


HARMLESS: Final = frozenset({FaultKind.TORN_TAIL, FaultKind.DUPLICATE_SEGMENT, FaultKind.EMPTY_SEGMENT})
"""What a crash leaves behind without taking anything that was on disk."""
MAX_FAULTS: Final = 10_000
"""So many are kept: a file made to that end holds millions."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at byte `offset` of the plain content of the file `segment`.

    `lsn_before` and `lsn_after` are the LSNs of the records met last before and first behind it, None if there is none.
    """

    kind: FaultKind
    segment: str
    offset: int
    detail: str
    lsn_before: int | None = None
    lsn_after: int | None = None
