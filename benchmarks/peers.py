"""peers.py: walcore beside the logs and stores that people take instead, in one table; README.md tells how to read it.

The peers' harness, ${WALCORE_SHARED}/peers, builds and runs those in Python, Go and Rust; walcore runs among them from
a wheel of this checkout.  What that harness doesn't ask of walcore, clients.py asks.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import clients
import reading
from measure import HERE
from rich.console import Console
from rich.markup import escape
from rows import show
from standing import OURS, left_out, rows

ROOT: Final = HERE.parent
LANGUAGES: Final = {
    "Python": ("naive-json", "naive-orjson", "sqlite-full", "apsw-full", "lmdb", "rocksdict", "plyvel"),
    "Go": ("tidwall", "etcd", "raftwal", "pebble"),
    "Rust": ("okaywal", "raft-engine"),
}
TOOLS: Final = {"Python": None, "Go": "go", "Rust": "cargo"}


@dataclass(frozen=True, kw_only=True)
class Time:
    """How long it may take; the rounds end with the time where they have not before."""

    harness_seconds: int
    client_rounds: int
    client_seconds: int


FULL: Final = Time(harness_seconds=560, client_rounds=7, client_seconds=150)
QUICK: Final = Time(harness_seconds=110, client_rounds=3, client_seconds=40)


def build_wheel(folder: Path) -> Path:
    """A wheel of this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("walcore-*.whl"))


def run_harness(sources: Path, work: Path, wheel: Path, seconds: int, *, quick: bool) -> dict[str, Any]:
    """What the peers' harness wrote; its errors are in it, and what it says goes where ours does."""
    out = work / "harness.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(sources / "run_all.py"), "--work", str(work), "--install", str(wheel)]
    command += ["--ref", "walcore", "--out", str(out), "--budget", str(seconds), *(["--quick"] if quick else [])]
    # Floors of its own would take a fifth of the time; what a row needs of them runs beside each commit anyway.
    command += ["--only", ",".join(map(str.lower, LANGUAGES))]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if not out.exists():
        msg = f"the peers' harness failed with exit status {done.returncode}"
        raise SystemExit(msg)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def notes(harness: dict[str, Any]) -> list[str]:
    """A line for all that did not run."""
    lines = []
    for name in left_out(harness["samples"], LANGUAGES):
        tool = TOOLS[name]
        why = f"{tool} is not on PATH" if tool and not shutil.which(tool) else "they don't build or run here, see above"
        lines.append(f"left out: the peers in {name} ({', '.join(LANGUAGES[name])}): {why}")
    lines += [f"left out: {problem}" for problem in harness["meta"]["problems"]]
    for side, errors in harness["errors"].items():
        lines += [f"{side} failed at {work}: {error}" for work, error in errors.items()]
    return lines


def heading(harness: dict[str, Any], seconds: float) -> str:
    """Where and when it was measured."""
    meta, load = harness["meta"], os.getloadavg()[1]
    version = harness["versions"].get("walcore", {}).get("version", "no walcore")
    where = f"Python {meta['python']}, {meta['cores']} cores, {meta['fs']}, load {load:.1f}"
    what = f"{meta['rounds_done']} rounds in turns, {meta['conf']['n']:,} records; {seconds:.0f} s"
    return f"{version} beside its peers, {meta['date'][:10]}: {where}; {what}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than 4 minutes instead of 15")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/walcore-peers"), help="keeps what is built; a disk")
    parser.add_argument("--wheel", type=Path, help="this walcore instead of one built now")
    parser.add_argument("--out", type=Path, help="write rows and samples here as JSON, which plots.py reads")
    arguments = parser.parse_args()
    if "WALCORE_SHARED" not in os.environ:
        print("left out: all peers; the harness that runs them lies in the folder that WALCORE_SHARED names: not set")
        return
    sources, begin = Path(os.environ["WALCORE_SHARED"]) / "peers", time.monotonic()
    quick, times = arguments.quick, QUICK if arguments.quick else FULL
    console, talk = Console(width=150), Console(stderr=True)
    work: Path = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    lock = (work / "peers.lock").open("w")
    try:
        # The harness would have its data taken away by the other's.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        parser.error(f"{work}: another run is measuring there")
    with tempfile.TemporaryDirectory(prefix="walcore-wheel-") as folder:
        wheel = arguments.wheel or build_wheel(Path(folder))
        harness = run_harness(sources, work, wheel, times.harness_seconds, quick=quick)
    built = clients.Built(work, sources)
    by_clients = clients.measure(built, times.client_rounds, times.client_seconds, talk.print, quick=quick)
    read_back = reading.measure(built, times.client_rounds, talk.print)
    parts = list(rows(harness["samples"], by_clients, read_back))
    show(parts, console, heading(harness, time.monotonic() - begin), "peer")
    for line in notes(harness):
        console.print(escape(line))
    if arguments.out:
        found = {key: harness[key] for key in ("meta", "versions", "samples", "errors")}
        found["meta"]["client_rounds"] = max(map(len, by_clients[OURS].values()))
        found |= {"clients": by_clients, "reading": read_back, "rows": [asdict(row) for part in parts for row in part]}
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
