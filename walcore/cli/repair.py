"""`walcore repair`: shows how a damaged log would be repaired, and with --apply does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from walcore.cli import DAMAGE, OK
from walcore.cli.damage import fault_row, show_fault
from walcore.cli.options import as_json, log_directory
from walcore.cli.output import console, count, new_table, talk, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from walcore.repairing import RepairPlan


@click.command(short_help="Plan how to repair damage; --apply does it.")
@log_directory
@click.option("--apply", "do", is_flag=True, help="Do what the plan says.")
@click.option("--store", metavar="UUID", help="Whose log it is, where nothing in it tells.")
@as_json
def command(wal: Path, do: bool, store: str | None, as_json: bool) -> int:
    """Show what is damaged in the log in DIR, how it can be repaired and which LSNs and ids are lost.

    Nothing is changed without --apply, and nothing is deleted by it: what leaves the log is kept in DIR/quarantine.
    Afterwards the log opens without damage, and RDF4J reads all that is left.  Exit status 1 if there is damage
    and it was not repaired.

    \b
      walcore repair store/wal
      walcore repair store/wal --apply
    """
    from walcore.repairing import repair

    plan = repair(wal, store_uuid=store)
    copies = plan.apply() if do else ()
    if as_json:
        _write(plan, do, copies)
    else:
        _show(plan, do, copies)
    return DAMAGE if plan.damaged and not do else OK


def _write(plan: RepairPlan, applied: bool, copies: tuple[str, ...]) -> None:
    facts: dict[str, Any] = {
        "what": "repair",
        "directory": plan.directory,
        "store": plan.store or None,
        "damaged": plan.damaged,
        "steps": len(plan.steps),
        "applied": applied,
        "lost": plan.lost,
        "lost_ids": plan.lost_ids,
        "quarantined": copies,
    }
    write_json(facts)
    for fault in plan.faults:
        write_json(fault_row(fault))
    for step in plan.steps:
        write_json({"what": "step", "action": step.action, "segment": step.segment, "number": step.number or None,
                    "detail": step.detail})  # fmt: skip


def _show(plan: RepairPlan, applied: bool, copies: tuple[str, ...]) -> None:
    from rich.markup import escape

    for fault in plan.faults:
        show_fault(fault)
    if not plan.steps:
        talk(f"{plan.directory}: nothing to repair")
        return
    table = new_table("", "step", "segment", "number", "what", right=("number",))
    for step in plan.steps:
        table.add_row(*map(escape, (step.action, step.segment, str(step.number or "-"), step.detail)))
    console().print(table)
    talk(plan.losses())
    if applied:
        talk(f"repaired; {count(len(copies), 'file')} in quarantine/ with what left the log or was written anew")
    elif plan.damaged:
        talk("nothing was changed; --apply does this, and keeps in quarantine/ whatever leaves the log")
    else:
        talk("nothing was changed; this is what a crash left and opening the log does as well; --apply does it now")
