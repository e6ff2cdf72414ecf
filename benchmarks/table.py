"""table.py: walcore beside its rivals, in one table with ratios; README.md tells how to read it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import probes
import workloads
from measure import HERE, Pairs, Workplace, in_turns
from parameters import MIB
from records import columns
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rivals import original, raw

import walcore
from walcore._core.encode import crc32c_backend

IMPORT_MS = 30
HELP_MS = 150
FLAT_MIB = 1
# What the pairs don't measure already.
WITHOUT_RIVAL = "encode or 256 or records or sealed or arrow or arrays or recover or find or open"


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


def against_raw(work: Workplace) -> Iterator[Row]:
    """One client's commits beside the same writes and syncs without a log around them."""
    p = work.parameters
    frames = raw.write_frames(work.folder / "frames", p)
    question = "commit each record, 1 client"
    in_c = raw.loop_in_c(work.folder)
    for ahead, probe, name, loop, goal in [
        ("", "commit-1", "write + fdatasync in C", in_c, 0.95),
        ("", "commit-1", "the same in Python", raw.loop_in_python(), None),
        (", 1 MiB allocated ahead", "commit-preallocated", "the loop in C, not ahead", in_c, 1.2),
    ]:
        if loop is None:
            yield Row(question=question + ahead, walcore="", rival=f"{name}: no C compiler (cc) on PATH")
            continue
        theirs = partial(work.on_new_folder, partial(raw_rate, loop, frames, p.commits))
        yield row(question + ahead, name, in_turns(p.commit_pairs, partial(work.ask, probe), theirs), goal)


def raw_rate(loop: list[str], frames: Path, commits: int, file: Path) -> float:
    """Commits a second of a raw loop."""
    return commits / raw.seconds(loop, frames, file)


def against_original(work: Workplace) -> Iterator[Row]:
    """What the original does too; its best round counts, walcore has one a pair."""
    p = work.parameters
    try:
        java = original.build(work.folder)
    except original.NotHereError as exc:
        yield Row(question="beside the original", walcore="", rival=f"not measured: {exc}")
        return
    their_append = partial(work.on_new_folder, partial(java.append, parameters=p))
    pairs = in_turns(p.pairs, partial(work.ask, "append"), their_append)
    yield row(f"append: log_mint in a loop, {p.lexical_chars} B", "original", pairs, 6)
    for clients in (1, *p.clients):
        theirs = partial(work.on_new_folder, partial(java.commit, clients=clients, parameters=p))
        rounds, goal = (p.pairs, 1.2) if clients > 1 else (1, None)
        pairs = in_turns(rounds, partial(work.ask, f"commit-{clients}"), theirs)
        yield row(f"commit each record, {clients} client{'s' * (clients > 1)}", "original", pairs, goal)
    log = workloads.build(work.folder / "log", columns(p.records, p.lexical_chars), p.segment_bytes)
    pairs = in_turns(p.pairs, partial(work.ask, "scan", log), partial(java.scan, log))
    yield row("scan to Record objects", "original", pairs, 3)


def against_itself(work: Workplace) -> Iterator[Row]:
    """One call for many records beside one call for each."""
    pairs = in_turns(work.parameters.pairs, partial(work.ask, "log_mint_many"), partial(work.ask, "log_mint"))
    yield row("append_many: log_mint_many of columns", "log_mint", pairs, 2)


def still(work: Workplace) -> Iterator[Row]:
    """What should not grow, move or take long."""
    p = work.parameters
    quarter, whole = work.probe("memory")
    yield Row(
        question=f"memory that a load of {p.load_bytes // MIB} MiB adds",
        walcore=f"{whole:.1f} MiB",
        rival=f"after a quarter: {quarter:.1f} MiB",
        goal=f"grows < {FLAT_MIB} MiB",
        reached=whole - quarter < FLAT_MIB,
    )
    (wakes,) = work.probe("idle")
    yield Row(question="an idle log: threads run in 1 s", walcore=f"{wakes:.0f}", goal="0", reached=wakes == 0)
    for question, seconds, limit in [
        ("import walcore, above a bare interpreter", probes.import_seconds(p.rounds), IMPORT_MS),
        ("walcore --help", probes.help_seconds(p.rounds), HELP_MS),
    ]:
        yield Row(question=question, walcore=duration(seconds), goal=f"<= {limit} ms", reached=seconds <= limit / 1000)


def without_rival(work: Workplace) -> Iterator[Row]:
    """The pytest-benchmark files, as far as the pairs have not measured the same."""
    out = work.folder / "benchmarks.json"
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-c",
        str(HERE / "pytest.ini"),
        str(HERE),
        "-q",
        "-k",
        WITHOUT_RIVAL,
    ]
    command += ["--scale", work.scale, "--benchmark-json", str(out), "--basetemp", str(work.folder / "pytest")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"the benchmarks failed:\n{done.stdout}{done.stderr}"
        raise RuntimeError(msg)
    for found in json.loads(out.read_text())["benchmarks"]:
        seconds, unit = found["stats"]["median"], found["extra_info"].get("unit")
        name = found["name"].removeprefix("bench_").replace("_", " ")
        yield Row(question=name, walcore=rate(unit / seconds) if unit else duration(seconds))


def show(parts: list[list[Row]], console: Console, title: str) -> None:
    """Print the table, a section a part."""
    table = Table(title=title, title_justify="left")
    for name in ("question", "walcore", "rival", "ratio (lowest - highest)", "goal", ""):
        table.add_column(name, justify="right" if name == "walcore" else "left", no_wrap=name != "rival")
    marks = {None: "", True: "[green]reached[/]", False: "[red]not reached[/]"}
    for rows in parts:
        for line in rows:
            cells = map(escape, (line.question, line.walcore, line.rival, line.ratio, line.goal))
            table.add_row(*cells, marks[line.reached])
        table.add_section()
    console.print(table)


def heading(work: Workplace, seconds: float) -> str:
    """Where and how it was measured."""
    p, disk = work.parameters, work.file_system()
    warning = "; NO DISK: syncs cost nothing there" if disk == "tmpfs" else ""
    return (
        f"walcore {walcore.__version__} ({crc32c_backend()}), Python {platform.python_version()}, {os.cpu_count()} "
        f"cores, {disk}{warning}; {work.scale}: {p.pairs} pairs, {p.commit_pairs} of one client's commits, "
        f"{p.records:,} records; {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, for CI: fewer pairs, smaller logs")
    parser.add_argument("--tiny", action="store_true", help="seconds: only shows that everything runs")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a folder on the disk to be measured")
    parser.add_argument("--out", type=Path, help="write the rows and their samples here as JSON")
    arguments = parser.parse_args()
    scale = "tiny" if arguments.tiny else "quick" if arguments.quick else "full"
    console, talk, begin = Console(width=150), Console(stderr=True), time.monotonic()
    with Workplace(arguments.work, scale) as work:
        parts = []
        for part in (against_original, against_itself, against_raw, still, without_rival):
            with talk.status(part.__doc__ or ""):
                parts.append(list(part(work)))
        show(parts, console, heading(work, time.monotonic() - begin))
    if arguments.out:
        rows = [asdict(line) for part in parts for line in part]
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
