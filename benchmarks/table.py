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
from dataclasses import asdict
from functools import partial
from pathlib import Path

import probes
import workloads
from measure import HERE, Workplace, in_turns
from parameters import MIB
from records import columns
from rich.console import Console
from rivals import original, raw
from rows import Row, duration, rate, row, show

import walcore
from walcore._core.encode import crc32c_backend

IMPORT_MS = 30
HELP_MS = 150
FLAT_MIB = 1
# What the pairs don't measure already.
WITHOUT_RIVAL = (
    "(encode or 256 or many or scan or recover or seal or find or open) and not (records-plain or many_columns)"
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
        seconds, info = found["stats"]["median"], found["extra_info"]
        name = found["name"].removeprefix("bench_").replace("_", " ")
        if "bytes" in info:
            value = f"{info['bytes'] / seconds / 1e6:,.0f} MB/s"
        else:
            value = rate(info["unit"] / seconds) if "unit" in info else duration(seconds)
        yield Row(question=name, walcore=value)


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
