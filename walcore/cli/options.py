"""Options that several commands have."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KINDS: Final = {"i": "I", "iri": "I", "b": "B", "bnode": "B", "l": "L", "literal": "L", "n": "N", "namespace": "N"}
KIND_NAMES: Final = {"I": "IRIs", "B": "blank nodes", "L": "literals", "N": "namespaces"}

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
kinds = click.option("--kind", "kinds", multiple=True, metavar="KIND",
                     type=click.Choice(tuple(KINDS), case_sensitive=False),
                     help="Only these: I, B, L, N or iri, bnode, literal, namespace; repeatable.")  # fmt: skip
mode = click.option("--mode", type=click.Choice(("strict", "stop", "segment", "salvage"), case_sensitive=False),
                    default="segment", show_default=True,
                    help="At damage: fail, stop, go on with the next segment, or behind the damage.")  # fmt: skip


def by_kind(counted: Mapping[str, int]) -> dict[str, int]:
    """Counts by letter as a row of JSON has them: {"iris": ..., "blank_nodes": ...}."""
    return {name.lower().replace(" ", "_"): counted.get(kind, 0) for kind, name in KIND_NAMES.items()}


def wal_option(*, exists: bool, required: bool = True) -> Callable[[Any], Any]:
    """The option --wal DIR, also by the variable WALCORE_WAL."""
    return click.option(
        "--wal",
        type=click.Path(file_okay=False, exists=exists, path_type=Path),
        metavar="DIR",
        envvar="WALCORE_WAL",
        required=required,
        show_envvar=True,
        help="Directory of the log.",
    )


def log_directory(command: Callable[..., Any]) -> Callable[..., Any]:
    """DIR as an argument, or --wal DIR, or the variable: the command gets it as `wal`, a Path that exists."""

    @click.argument(
        "directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False, exists=True, path_type=Path)
    )
    @wal_option(exists=True, required=False)
    @functools.wraps(command)
    def merged(directory: Path | None, wal: Path | None, **others: Any) -> Any:
        return command(wal=chosen_directory(directory, wal), **others)

    decorated: Callable[..., Any] = merged
    return decorated


def chosen_directory(directory: Path | None, wal: Path | None) -> Path:
    """The one of DIR and --wal that was given, DIR before the variable.  Raises click.UsageError: both, or none."""
    context = click.get_current_context()
    if directory and wal and context.get_parameter_source("wal") is ParameterSource.COMMANDLINE:
        msg = "Name the directory once: as DIR or with --wal."
        raise click.UsageError(msg, context)
    chosen = directory or wal
    if chosen is None:
        msg = "Name the directory of the log: DIR, --wal DIR or the variable WALCORE_WAL."
        raise click.UsageError(msg, context)
    return chosen
