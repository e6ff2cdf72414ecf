"""`walcore recover`: id -> value, all of a log's, into one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walcore.cli import DAMAGE, OK
from walcore.cli.files import write_file
from walcore.cli.options import as_json, log_directory
from walcore.cli.output import count, talk, write_json, write_lines

if TYPE_CHECKING:
    from walcore.recovery import Recovered


@click.command(short_help="Write the whole dictionary, id by id, to a file.")
@log_directory
@click.option("-o", "--output", required=True, metavar="FILE", help='NDJSON file to write; "-" is stdout.',
              type=click.Path(dir_okay=False, allow_dash=True))  # fmt: skip
@click.option("--allow-incomplete", is_flag=True, help="Write what can be read of a damaged log.")
@click.option("--on-conflict", type=click.Choice(("last", "first", "error")), default="last", show_default=True,
              help="Which value counts when an id has two.")  # fmt: skip
@click.option("--max-memory", type=click.IntRange(1), metavar="MIB",
              help="MiB that the dictionary may take; what is more goes to a temporary file (TMPDIR).")  # fmt: skip
@as_json
def command(
    wal: Path, output: str, allow_incomplete: bool, on_conflict: str, max_memory: int | None, as_json: bool
) -> int:
    """Rebuild the dictionary from the log in DIR and write it to FILE, one record a line, by rising id.

    FILE appears when it is complete.  A damaged log writes nothing, unless --allow-incomplete; both end
    with exit status 1.  --json tells what was done, each conflict and each fault as a row of JSON, on stdout
    (on stderr if the values go to stdout).

    \b
      walcore recover store/wal -o values.ndjson
      walcore recover store/wal -o - | walcore load - --wal new/wal
    """
    import walcore
    from walcore.cli.ndjson import to_json

    found = walcore.recover(
        wal,
        allow_incomplete=True,
        on_conflict=on_conflict,
        mode="SALVAGE",
        max_memory=None if max_memory is None else max_memory << 20,
    )
    written = found.report.complete or allow_incomplete
    if written:
        records = found.records
        by_id = map(records.__getitem__, sorted(records)) if max_memory is None else records.values()
        lines = map(to_json, by_id)
        if output == "-":
            write_lines(lines)
        else:
            write_file(Path(output), lambda file: file.writelines(map(_line, lines)))
    if as_json:
        return _write_rows(found, wal, output if written else None)
    return _show(found, output if written else None)


def _write_rows(found: Recovered, wal: Path, output: str | None) -> int:
    from walcore.cli.damage import fault_row
    from walcore.cli.ndjson import row_of

    report = found.report
    rows: list[dict[str, Any]] = [{
        "what": "recovery",
        "directory": str(wal),
        "output": output,
        "values": len(found.records),
        "records": report.records,
        "complete": report.complete,
        "conflicts_left_out": found.conflicts_left_out,
    }]  # fmt: skip
    rows += (
        {"what": "conflict", "id": two.id, "kept": row_of(two.kept), "dropped": row_of(two.dropped)}
        for two in found.conflicts
    )
    rows += map(fault_row, report.faults)
    for row in rows:
        write_json(row, stderr=output == "-")
    return OK if report.complete else DAMAGE


def _show(found: Recovered, output: str | None) -> int:
    from walcore.cli.damage import show_damage
    from walcore.cli.ndjson import value_text

    values = count(len(found.records), "value")
    if output is None:
        talk(f"nothing is written; with --allow-incomplete it would be {values}")
        return show_damage(found.report)
    if output != "-":
        talk(f"{values} written to {output}")
    for conflict in found.conflicts:
        kept, dropped = value_text(conflict.kept), value_text(conflict.dropped)
        talk(f"id {conflict.id} has two values: {kept} is taken, {dropped} is not")
    if found.conflicts_left_out:
        talk(f"and {count(found.conflicts_left_out, 'conflict')} more")
    return show_damage(found.report)


def _line(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace") + b"\n"
