"""`walcore recover`: id -> value, all of a log's, into one file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from walcore.cli.options import log_directory
from walcore.cli.output import count, talk, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command(short_help="Write the whole dictionary, id by id, to a file.")
@log_directory
@click.option("-o", "--output", required=True, metavar="FILE", help='NDJSON file to write; "-" is stdout.',
              type=click.Path(dir_okay=False, allow_dash=True))  # fmt: skip
@click.option("--allow-incomplete", is_flag=True, help="Write what can be read of a damaged log.")
@click.option("--on-conflict", type=click.Choice(("last", "first", "error")), default="last", show_default=True,
              help="Which value counts when an id has two.")  # fmt: skip
def command(wal: Path, output: str, allow_incomplete: bool, on_conflict: str) -> int:
    """Rebuild the dictionary from the log in DIR and write it to FILE, one record a line, by rising id.

    FILE appears when it is complete.  A damaged log writes nothing, unless --allow-incomplete; both end
    with exit status 1.

    \b
      walcore recover store/wal -o values.ndjson
      walcore recover store/wal -o - | walcore load - --wal new/wal
    """
    import walcore
    from walcore.cli.damage import show_damage
    from walcore.cli.ndjson import to_json, value_text
    from walcore.errors import IncompleteError

    try:
        found = walcore.recover(wal, allow_incomplete=allow_incomplete, on_conflict=on_conflict, mode="SALVAGE")
    except IncompleteError as error:
        talk(f"nothing is written; with --allow-incomplete it would be {count(len(error.records), 'value')}")
        return show_damage(error.report)
    lines = (to_json(found.records[id_]) for id_ in sorted(found.records))
    if output == "-":
        write_lines(lines)
    else:
        _write(Path(output), lines)
        talk(f"{count(len(found.records), 'value')} written to {output}")
    for conflict in found.conflicts:
        kept, dropped = value_text(conflict.kept), value_text(conflict.dropped)
        talk(f"id {conflict.id} has two values: {kept} is taken, {dropped} is not")
    return show_damage(found.report)


def _write(path: Path, lines: Iterator[str]) -> None:
    """Written aside and put in place when it is whole; what was there before stays until then."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            for line in lines:
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        raise
