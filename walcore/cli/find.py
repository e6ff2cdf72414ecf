"""`walcore find`: the newest value of an id."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Final

import click

from walcore.cli import DAMAGE, FAILURE, OK
from walcore.cli.options import as_json, chosen_directory, wal_option
from walcore.cli.output import talk, write_lines
from walcore.format import MAX_INT32, MIN_INT32

NUMBER: Final = "[+-]?[0-9]+"
SHOWN_CHARS: Final = 40


# A negative id would else be taken for an option.
@click.command(short_help="Print the value of an id.", context_settings={"ignore_unknown_options": True})
@click.argument("words", metavar="ID... [DIR]", nargs=-1, required=True)
@wal_option(exists=True, required=False)
@as_json
def command(words: tuple[str, ...], wal: Path | None, as_json: bool) -> int:
    """Print the newest value of each ID in the log in DIR (--wal DIR if its name is a number).

    Exit status 4 if one of them has none, 1 if damage was met behind which a newer one may lie.

    \b
      walcore find 42 store/wal
      walcore find 1 2 3 --wal store/wal --json
    """
    from walcore.cli.ndjson import to_json, to_text
    from walcore.errors import WalDamageWarning
    from walcore.search import find

    ids, directory = _ids_and_directory(words)
    wal = chosen_directory(directory, wal)
    status = OK
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always", WalDamageWarning)
        for id_ in ids:
            record = find(wal, id_)
            if record is None:
                talk(f"not found: the log in {wal} has no value for id {id_}")
                status = FAILURE
            else:
                write_lines([to_json(record) if as_json else to_text(record)])
    for text in dict.fromkeys(str(warning.message) for warning in met):
        talk(text)
    return DAMAGE if met else status


def _ids_and_directory(words: tuple[str, ...]) -> tuple[list[int], Path | None]:
    """Ids, and the directory that may come last; a number is an id, whatever lies in this folder."""
    last = words[-1]
    named = len(words) > 1 and not re.fullmatch(NUMBER, last) and Path(last).is_dir()
    return [_id(word) for word in (words[:-1] if named else words)], Path(last) if named else None


def _id(word: str) -> int:
    # int() refuses thousands of digits with an error of its own.
    if len(word) <= SHOWN_CHARS and re.fullmatch(NUMBER, word) and MIN_INT32 <= int(word) <= MAX_INT32:
        return int(word)
    shown = word if len(word) <= SHOWN_CHARS else f"{word[:SHOWN_CHARS]}..."
    msg = f"{shown!r} is no id, nor a directory behind one: ids are whole numbers from {MIN_INT32} to {MAX_INT32}."
    raise click.UsageError(msg, click.get_current_context())
