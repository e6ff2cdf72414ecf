"""Three readers of one directory, walcore's, the shared folder's and RDF4J's, and where they may differ.

`docs/compatibility.md` tells the same to users.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import witness

import walcore
from walcore.faults import FaultKind

Row = tuple[Any, ...]

RDF4J_GOES_ON: Final = {
    FaultKind.MISSING_SEGMENT: "reads the next one",
    FaultKind.EMPTY_SEGMENT: "passes over it",
    FaultKind.DUPLICATE_SEGMENT: "reads one of the two, whichever the system listed last",
    FaultKind.UNREADABLE_SEGMENT: "takes its number for 0, reads it first, and ends there; one such file hides another",
    FaultKind.MISSING_SUMMARY: "doesn't look for one",
    FaultKind.SUMMARY_MISMATCH: "doesn't look at it",
    FaultKind.FOREIGN_STORE: "doesn't look at the store",
}
"""What RDF4J's reader does where `mode="STOP"` ends at a fault of that kind."""


def by_walcore(directory: Path, mode: str) -> tuple[list[Row], set[FaultKind]]:
    """Records in the order that they are read in, and the kinds of the faults."""
    reader = walcore.read(directory, mode=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [(o.lsn, o.id, o.kind.value, o.lexical, o.datatype, o.language, o.hash) for o in reader]
    return rows, {fault.kind for fault in reader.report.faults}


def purging(directory: Path) -> bool:
    """Whether a purge was cut off: walcore's readers pass over what it was about to delete, the others don't."""
    return (directory / "walcore.purge").exists()


def against_the_independent(directory: Path) -> str | None:
    """How walcore, which reads every segment to its first fault, and the independent reader differ; None if not."""
    seen = witness.independent().read_dir(str(directory))
    theirs, (ours, _) = {tuple(record) for record in seen.records}, by_walcore(directory, "SEGMENT")
    if len(ours) != len(set(ours)):
        return "walcore reads a record twice"
    # The independent reader unpacks gzip by the 64 KiB, and has nothing of a piece that is damaged.
    fewer = any(why.startswith("gzip: damaged") for _, _, why in seen.tears)
    if theirs == set(ours) or (fewer and theirs < set(ours)) or (purging(directory) and theirs > set(ours)):
        return None
    return f"walcore alone reads {sorted(set(ours) - theirs)[:3]}, the other alone {sorted(theirs - set(ours))[:3]}"


def against_the_original(directory: Path, theirs: list[Row], end: str) -> tuple[bool, str | None]:
    """How walcore and RDF4J differ on what that one read, and how its reading ended.

    The first says whether they had to agree to the record: not where a difference is on the list.  Even there, but for
    a gzip header that zlib refuses, walcore finds all that RDF4J does.
    """
    stopped, kinds = by_walcore(directory, "STOP")
    all_of_it, more_kinds = by_walcore(directory, "SEGMENT")
    seen = witness.independent().read_dir(str(directory))
    if purging(directory):
        return False, None if set(theirs) >= set(all_of_it) else "during a purge walcore reads more than RDF4J"
    if any("unknown header flags" in why for _, _, why in seen.tears):
        return False, None  # flags of a gzip header that mean nothing yet: zlib refuses them, Java doesn't look
    if missed := sorted(set(theirs) - set(all_of_it)):
        return False, f"RDF4J reads {missed[:3]}, which walcore doesn't"
    if end != "read":
        odd = more_kinds & {FaultKind.INVALID_RECORD, FaultKind.UNREADABLE_SEGMENT}
        damaged = odd or any(name.endswith(".gz") for name, _, _ in seen.tears)
        return False, None if damaged else f"RDF4J raises {end}, and no header, record or sealed segment is odd"
    # It doesn't look behind a gzip member.
    listed = (kinds | more_kinds) & RDF4J_GOES_ON.keys() or any("behind the member" in why for _, _, why in seen.tears)
    if theirs == stopped or listed:
        return not listed, None
    return True, f"RDF4J reads {len(theirs)} records, walcore {len(stopped)}: {theirs[-1:]}, {stopped[-1:]}"
