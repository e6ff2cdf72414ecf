"""What commands print: data on stdout, talk on stderr, tables and progress by rich, which is imported only here."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table


def talk(text: str) -> None:
    """One line for a person, on stderr."""
    tell(f"walcore: {text}")


def tell(text: str) -> None:
    """Text on stderr; where that can't be written, the exit status has to do."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def write_lines(lines: Iterable[str]) -> None:
    """Lines of data on stdout, in UTF-8; a lone surrogate becomes its escape, `\\ud800`, as in JSON."""
    sys.stdout.flush()
    write = sys.stdout.buffer.write
    for line in lines:
        write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def write_json(row: dict[str, Any], *, stderr: bool = False) -> None:
    """One JSON object on a line of its own."""
    from walcore.cli.ndjson import dumps

    if stderr:
        tell(dumps(row))
    else:
        write_lines([dumps(row)])


def console(*, stderr: bool = False) -> Console:
    """Rich's console; where the output is no terminal, wide enough that no table is cut."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:  # rich's own would exit with the status of damage
            raise BrokenPipeError

    screen = Screen(stderr=stderr, highlight=False)
    return screen if screen.is_terminal else Screen(stderr=stderr, highlight=False, width=160)


def new_table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `right` are flush right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    return table


def progress(unit: str = "") -> Progress:
    """A progress bar on stderr that leaves nothing behind; silent where stderr is no terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    terminal = console(stderr=True)
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=36),
        TaskProgressColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )


def count(number: int, noun: str = "", plural: str = "") -> str:
    """`count(1200, "record")` is "1,200 records"."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: int) -> str:
    """Bytes for a person: "12.1 MB" (powers of ten)."""
    scaled, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if scaled < 1000 or unit == "TB":
            break
        scaled /= 1000
    return f"{number} B" if unit == "B" else f"{scaled:.1f} {unit}"


def rate(number: int, seconds: float) -> str:
    """How many a second: "350,000/s"; to three digits, since no clock knows more."""
    per_second = number / max(seconds, 1e-9)
    return f"{float(f'{per_second:.3g}'):,.0f}/s"
