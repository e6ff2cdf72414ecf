"""What a report says about damage, for a person, and the exit status that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from walcore.cli import DAMAGE, OK
from walcore.cli.output import count, talk

if TYPE_CHECKING:
    from walcore.faults import Fault
    from walcore.opening import Opening
    from walcore.reader import Report


def around(fault: Fault) -> str:
    """The LSNs on both sides of a fault."""
    sides = (("behind", fault.lsn_before), ("before", fault.lsn_after))
    return " and ".join(f"{side} LSN {lsn}" for side, lsn in sides if lsn)


def show_fault(fault: Fault) -> None:
    """One line on stderr."""
    where = f"{fault.segment} at byte {fault.offset}" if fault.offset else fault.segment
    place = ", ".join(filter(None, (where, around(fault))))
    talk(": ".join(filter(None, (fault.kind, place, fault.detail))))


def show_damage(report: Report) -> int:
    """Names every fault on stderr; DAMAGE if values may be missing, OK if none is, however little was read."""
    from walcore.faults import HARMLESS

    for fault in report.faults:
        show_fault(fault)
    losses = sum(fault.kind not in HARMLESS for fault in report.faults) + report.faults_left_out
    if report.faults_left_out:
        talk(f"and {count(report.faults_left_out, 'fault')} more")
    if not losses and not report.cut_short:
        return OK
    talk(f"the log is damaged ({count(losses, 'fault')}): values may be missing")
    return DAMAGE


def fault_row(fault: Fault) -> dict[str, Any]:
    """A fault as --json prints it."""
    return {
        "what": "fault",
        "kind": str(fault.kind),
        "segment": fault.segment,
        "offset": fault.offset,
        "lsn_before": fault.lsn_before,
        "lsn_after": fault.lsn_after,
        "detail": fault.detail,
    }


def show_opening(opening: Opening) -> None:
    """Names on stderr what an opening left out of the log; the damage it left in place: `show_losses`, or reading."""
    for removed in (*opening.cut, *opening.quarantined):
        what = f"{count(removed.size, 'byte')} from byte {removed.offset} of {removed.segment} on"
        kept = f"; they are kept as {removed.copy}" if removed.copy else ""
        talk(f"left out on opening: {what} ({removed.reason}){kept}")
    for warning in opening.warnings:
        talk(warning)


def show_losses(opening: Opening) -> bool:
    """Names on stderr what an opening knows to be lost, and whether there is any: ids may be gone with it."""
    from walcore.faults import HARMLESS

    losses = [fault for fault in opening.faults if fault.kind not in HARMLESS]
    for fault in losses:
        show_fault(fault)
    return bool(losses)
