"""`walcore find`: the newest value of an id."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import click

from walcore.cli import DAMAGE, FAILURE, OK
from walcore.cli.options import as_json, wal_option
from walcore.cli.output import talk, write_lines

if TYPE_CHECKING:
    from pathlib import Path


# A negative id would else be taken for an option.
@click.command(short_help="Print the value of an id.", context_settings={"ignore_unknown_options": True})
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@wal_option(exists=True)
@as_json
def command(ids: tuple[int, ...], wal: Path, as_json: bool) -> int:
    """Print the newest value of each ID.  Exit status 4 if one of them has none, 1
    if damage was met behind which a newer one may lie.

    \b
      walcore find 42 --wal store/wal
      walcore find 1 2 3 --wal store/wal --json
    """
    from walcore.cli.ndjson import to_json, to_text
    from walcore.errors import WalDamageWarning
    from walcore.search import find

    status = OK
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always", WalDamageWarning)
        for id_ in ids:
            record = find(wal, id_)
            if record is None:
                talk(f"no value has id {id_} in {wal}")
                status = FAILURE
            else:
                write_lines([to_json(record) if as_json else to_text(record)])
    for text in dict.fromkeys(str(warning.message) for warning in met):
        talk(text)
    return DAMAGE if met else status
