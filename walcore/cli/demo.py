"""`walcore demo`: real RDF is logged, the process that logs is killed, and every promise is held against the log."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from walcore.cli import DAMAGE, OK
from walcore.cli.options import KIND_NAMES, as_json, by_kind
from walcore.cli.output import console, count, new_table, rate, size, write_json

if TYPE_CHECKING:
    from walcore.cli.story import Story

BAR_WIDTH: Final = 30


@click.command(short_help="Log real RDF, kill the writer, prove that nothing is lost.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--keep", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Leave the log in DIR, which must be new or empty.")  # fmt: skip
@click.option("--seed", type=int, metavar="N", help="Draw the moment of the kill from this seed.")
@as_json
def command(files: tuple[Path, ...], keep: Path | None, seed: int | None, as_json: bool) -> int:
    """Tell the whole story in seconds: mint, commit, kill -9, recover, prove, go on.

    Every distinct term of FILE... (RDF; default: the ontologies of the package brickschema) is logged by a child
    process, which is killed by SIGKILL after an acknowledgement drawn at random.  What that child had been
    promised is then looked for in the log, value by value.  Exit status 1 if anything is missing.

    \b
      walcore demo
      walcore demo my-ontology.ttl --keep demo-wal
    """
    import random
    import tempfile

    from walcore.cli.story import tell

    if keep is not None and keep.exists() and any(keep.iterdir()):
        msg = f"--keep: {keep} is not empty; name a new directory."
        raise click.UsageError(msg)
    if keep is not None:
        _make_usable(keep)
    seed = random.randrange(1_000_000) if seed is None else seed  # noqa: S311 - nothing is secret here
    with tempfile.TemporaryDirectory(prefix="walcore-demo-") as scratch:
        wal = keep or Path(scratch, "wal")
        story = tell(list(files) or brickschema_files(), wal, Path(scratch, "values"), random.Random(seed))  # noqa: S311
    if as_json:
        write_json(_facts(story, seed))
    else:
        _show(story, seed)
        _show_next(keep, min(42, len(story.values)))
    return OK if story.lost == 0 and story.complete else DAMAGE


def _make_usable(folder: Path) -> None:
    """Before anything else is done: makes a folder, tries to write there."""
    import tempfile

    from walcore.errors import WalError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"--keep: {folder} can't be used: {error.strerror}"
        raise WalError(msg) from error


def brickschema_files() -> list[Path]:
    """The Turtle files that the package brickschema ships, found without importing it, which takes seconds."""
    import importlib.util

    spec = importlib.util.find_spec("brickschema")
    if spec is None or spec.origin is None:
        msg = "No module named 'brickschema'"
        raise ModuleNotFoundError(msg, name="brickschema")
    return sorted(Path(spec.origin).parent.rglob("*.ttl"))


def _kinds(story: Story) -> Counter[str]:
    return Counter(str(value[0]) for value in story.values)


def _facts(story: Story, seed: int) -> dict[str, Any]:
    return {
        "files": story.files,
        "bytes": story.bytes,
        "values": len(story.values),
        **by_kind(_kinds(story)),
        "seed": seed,
        "commit_every": story.every,
        "killed_after": story.kill_after,
        "committed": story.promise.values,
        "recovered": story.recovered,
        "lost": story.lost,
        "logged_per_second": round(story.promise.values / story.promise.seconds),
        "read_per_second": round(len(story.values) / story.verified_in),
        "complete": story.complete,
        "segments": len(story.segments),
        "sealed": sum(segment.sealed for segment in story.segments),
        "log_bytes": sum(segment.size for segment in story.segments),
    }


def _show(story: Story, seed: int) -> None:
    total = len(story.values)
    table = new_table("", "what", "how much", "more", right=("how much",))
    table.show_header = False
    table.add_row("files", count(story.files), f"{size(story.bytes)} of RDF")
    table.add_row("values", count(total), "distinct")
    kinds = _kinds(story)
    for kind, name in KIND_NAMES.items():
        table.add_row(f"  {name}", count(kinds[kind]), _bar(kinds[kind], total))
    table.add_section()
    table.add_row(
        "logged", rate(story.promise.values, story.promise.seconds), f"one by one, on disk after every {story.every}"
    )
    table.add_row("killed", "kill -9", f"after acknowledgement {count(story.kill_after)}; --seed {seed} draws it again")
    table.add_row("committed", count(story.promise.values), "values that were acknowledged as on disk by then")
    table.add_row("recovered", count(story.recovered), f"in {story.recovered_in:.2f} s")
    style, verdict = _verdict(
        story.lost == 0, "every committed value is there, unchanged", "committed values missing or changed"
    )
    table.add_row(f"{style}lost", f"{style}{count(story.lost)}", f"{style}{verdict}")
    table.add_section()
    if story.rest:
        table.add_row("the rest", count(story.rest), f"logged behind the crash, {rate(story.rest, story.rest_in)}")
    style, verdict = _verdict(story.complete, "complete, each value right", "NOT complete")
    table.add_row("read back", count(total), f"{style}{verdict}[/], {rate(total, story.verified_in)}")
    sealed = sum(segment.sealed for segment in story.segments)
    on_disk = size(sum(segment.size for segment in story.segments))
    table.add_row(
        "segments", count(len(story.segments)), f"{sealed} sealed, {len(story.segments) - sealed} plain, {on_disk}"
    )
    console().print(table)


def _verdict(good: bool, yes: str, no: str) -> tuple[str, str]:
    return ("[bold green]", yes) if good else ("[bold red]", no)


def _bar(part: int, whole: int) -> str:
    return f"[cyan]{'█' * max(round(BAR_WIDTH * part / whole), part > 0)}[/]"


def _show_next(keep: Path | None, id_: int) -> None:
    """Three commands that work as they stand, whatever this one was started as."""
    import shlex

    me = _own_name()
    if keep is None:
        lines = [f"{me} demo --keep demo-wal", f"{me} info demo-wal", f"{me} cat demo-wal --kind literal --limit 5"]
    else:
        log = shlex.quote(str(keep))
        lines = [f"{me} info {log}", f"{me} cat {log} --kind literal --limit 5", f"{me} find {id_} --wal {log} --json"]
    screen = console()
    screen.print("Try next:")
    for line in lines:
        screen.print(f"  [bold]{line}", highlight=False, soft_wrap=True)


def _own_name() -> str:
    """The words that started this command, so that the next ones work when copied."""
    import shlex

    name = sys.argv[0]
    if Path(name).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m walcore"
    return shlex.quote(name) if Path(name).name == "walcore" else "walcore"
