"""Rows of the tables: what a pair of sides, or one number, looks like in print."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from measure import Pairs
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table, and the numbers behind it."""

    question: str
    walcore: str
    rival: str = ""
    ratio: str = ""
    goal: str = ""
    reached: bool | None = None
    samples: dict[str, list[float]] | None = None


def rate(a_second: float) -> str:
    """A rate with a unit that suits it."""
    if a_second >= 10_000:
        return f"{a_second / 1000:,.0f} k/s"
    return f"{a_second:,.0f} /s" if a_second >= 50 else f"{a_second:.1f} /s"


def duration(seconds: float) -> str:
    """A time with a unit that suits it."""
    return f"{seconds * 1e3:,.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:,.0f} us"


def row(question: str, rival: str, pairs: Pairs, goal: float | None = None) -> Row:
    """The line of a ratio."""
    low, high = min(pairs.ratios), max(pairs.ratios)
    return Row(
        question=question,
        walcore=rate(median(pairs.ours)),
        rival=f"{rival}: {rate(median(pairs.theirs))}",
        ratio=f"{pairs.ratio:.2f} ({low:.2f} - {high:.2f})" if len(pairs.ratios) > 1 else f"{pairs.ratio:.2f}",
        goal=f">= {goal:g}" if goal else "",
        reached=pairs.ratio >= goal if goal else None,
        samples={"walcore": pairs.ours, "rival": pairs.theirs},
    )


def show(parts: list[list[Row]], console: Console, title: str, rival: str = "rival") -> None:
    """Print the table, a section a part; `rival` is the heading over the other side."""
    table = Table(title=title, title_justify="left")
    for name in ("question", "walcore", rival, "ratio (lowest - highest)", "goal", ""):
        table.add_column(name, justify="right" if name == "walcore" else "left", no_wrap=name != rival)
    marks = {None: "", True: "[green]reached[/]", False: "[red]not reached[/]"}
    for rows in parts:
        for line in rows:
            cells = map(escape, (line.question, line.walcore, line.rival, line.ratio, line.goal))
            table.add_row(*cells, marks[line.reached])
        table.add_section()
    console.print(table)
