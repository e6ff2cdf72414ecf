"""A log of three segments, and a pass over any log with all that it told."""

from __future__ import annotations

import warnings
from pathlib import Path

import logs
from logs import Record

from walcore.errors import WalDamageWarning
from walcore.reader import ReadMode, Report, read

PARTS = [[logs.record(lsn) for lsn in part] for part in ((1, 2, 3), (4, 5), (6, 7, 8))]
ALL = [one for part in PARTS for one in part]


def met(directory: Path, mode: ReadMode = ReadMode.SEGMENT) -> tuple[list[Record], list[str], Report]:
    """Records, kinds of faults, and the report of a pass whose warning is checked."""
    reader = read(directory, mode=mode)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        records = list(reader)
    goes_on = mode in (ReadMode.SEGMENT, ReadMode.SALVAGE)
    assert [w.category for w in told] == [WalDamageWarning] * (goes_on and not reader.report.complete)
    return records, [str(fault.kind) for fault in reader.report.faults], reader.report
