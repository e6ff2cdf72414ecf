"""Do the tests bite?  Plants known bugs in copies of the checkout, one at a time, and expects a test to be red.

    python tests/bites/run.py [--work FOLDER] [--short] [--report FILE] [NAME ...]

`control.toml` and `core.toml` list the bugs: `old`, which stands in `file` just once, becomes `new` (`more`: and so
on); `tests` are those that should see it, and if they don't, the whole suite is asked.  `build` names the compiled
modules that the change is in, where that isn't the file's own.  With `original` the bug makes walcore behave as the
original does in the fault of that number in tests/crash/test_original_faults.py, whose test is then red.
First all those tests must be green without a bug.  A hang is ended by pytest's watchdog and is red.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))
import trees

HERE: Final = Path(__file__).parent
TABLES: Final = ("control", "core")
WATCHDOG: Final = 150
"""Seconds that one test may take, on a machine with much else to do as well."""
LIMIT: Final = 1800
# Python and core, a wake-up lost, a name lost, a promise given early: in a minute.
SHORT: Final = (
    "a new segment's name is not synced",
    "a purge deletes upwards",
    "a tear is cut without a copy of it",
    "corruption of what was on disk is called a tear",
    "a wait on a closed log returns as if on disk",
)
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (tests\S+)", re.MULTILINE)
_LAST: Final = re.compile(r"^(tests/\S+?::\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Edit:
    """`old` in `file`, which holds it just once, becomes `new`."""

    file: str
    old: str
    new: str

    def apply(self, tree: Path) -> None:
        path = tree / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            msg = f"{self.file} holds {text.count(self.old)} times, not once:\n{self.old}"
            raise LookupError(msg)
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug to plant."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    build: tuple[str, ...]
    original: int | None

    def plant(self, tree: Path) -> None:
        for edit in self.edits:
            edit.apply(tree)


def load(tables: Iterable[str] = TABLES) -> list[Bug]:
    """All bugs of the tables."""
    rows = [row for name in tables for row in tomllib.loads((HERE / f"{name}.toml").read_text())["bug"]]
    return [_bug(row) for row in rows]


def _bug(row: dict[str, Any]) -> Bug:
    file = Path(row["file"])
    build = tuple(row.get("build", [file.stem] if file.suffix == ".pyx" else []))
    edits = [row, *row.get("more", ())]
    return Bug(
        row["name"],
        tuple(Edit(edit.get("file", row["file"]), edit["old"], edit["new"]) for edit in edits),
        tuple(row["tests"]),
        build,
        row.get("original"),
    )


def build(tree: Path, modules: Iterable[str]) -> None:
    """Compile these modules of the tree anew, in a folder that holds no other source that could be compiled."""
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        shutil.copytree(tree, alone, ignore=shutil.ignore_patterns("tests", "docs", "benchmarks", "*.so"))
        # Compiled in a third of the time; what is tested is what it does.
        setup = alone / "setup.py"
        setup.write_text(setup.read_text().replace('"-O2"', '"-O0"'))
        for path in (alone / "walcore" / "_core").glob("*.pyx"):
            if path.stem not in modules:
                path.unlink()
        done = subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=alone, env=trees.environment(alone), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{', '.join(modules)} could not be compiled:\n{done.stdout}{done.stderr}")
        for module in (alone / "walcore" / "_core").glob("*.so"):
            (tree / "walcore" / "_core" / module.name).unlink(missing_ok=True)
            shutil.copy2(module, tree / "walcore" / "_core")


def _end(tried: subprocess.Popen[bytes], log: Path) -> int:
    """Wait for pytest; one that has told of a red test, and hangs at its exit, is killed, and so is one that hangs."""
    began = time.monotonic()
    while time.monotonic() - began < LIMIT:
        told = _FAILED.search(log.read_text(errors="replace"))
        try:
            return tried.wait(10)
        except subprocess.TimeoutExpired:
            if told:
                break
    with suppress(ProcessLookupError):
        os.killpg(tried.pid, signal.SIGKILL)
    return tried.wait()


def red(tree: Path, tests: Iterable[str]) -> str | None:
    """The test that was red first, None if all were green."""
    log = tree / "bites.log"
    with log.open("w") as out:
        tried = subprocess.Popen(
            [*trees.pytest_command(WATCHDOG), *tests],
            cwd=tree, env=trees.environment(tree), stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    code = _end(tried, log)
    text = log.read_text(errors="replace")
    if code == 0:
        return None
    if failed := _FAILED.findall(text):
        return str(failed[0])
    if code < 0 or "Timeout (" in text:
        how = "hung" if code in (1, -signal.SIGKILL) else f"ended by signal {-code}"
        last = ["?", *_LAST.findall(text)][-1]
        return f"{last} ({how})"
    sys.exit(f"pytest ended with {code}, which is neither red nor green:\n{text[-3000:]}")


def bite(bug: Bug, green: Path, work: Path, *, named_only: bool) -> tuple[str | None, float]:
    """Plant a bug in a copy of the tree `green`; returns the test that is red and the seconds that it took."""
    began = time.monotonic()
    tree = work / "tree"
    shutil.copytree(green, tree)
    try:
        bug.plant(tree)
        if bug.build:
            build(tree, bug.build)
        caught = red(tree, bug.tests) or (None if named_only else red(tree, ["tests"]))
    finally:
        shutil.rmtree(tree)
    return caught, time.monotonic() - began


class Report:
    """What is known already: which test caught a bug, and which tests are green without any."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        text = path.read_text() if path and path.exists() else ""
        self.known: dict[str, str] = {row["what"]: row["result"] for row in map(json.loads, text.splitlines())}

    def add(self, what: str, result: str, seconds: float) -> None:
        self.known[what] = result
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps({"what": what, "result": result, "seconds": round(seconds, 1)}) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these bugs, or those whose name holds this")
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--part", default="1/1", help="2/3: the second of three parts, for several machines")
    parser.add_argument("--short", action="store_true", help="a few bugs, in about a minute")
    parser.add_argument("--named-only", action="store_true", help="don't ask the whole suite about what they miss")
    parser.add_argument("--work", type=Path, help="folder to work in")
    parser.add_argument("--report", type=Path, help="file of results: what is in it already is not done again")
    options = parser.parse_args()
    bugs = [bug for bug in load(options.tables) if not options.names or any(name in bug.name for name in options.names)]
    part, parts = map(int, options.part.split("/"))
    bugs = bugs[part - 1 :: parts]
    if options.short:
        bugs = [bug for bug in bugs if bug.name in SHORT]
    report = Report(options.report)
    known = report.known
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        green = trees.copy_checkout(work / "green")
        todo = [bug for bug in bugs if not known.get(bug.name)]
        tests = sorted({test for bug in todo for test in bug.tests} - known.keys())
        if tests and (failed := red(green, tests)):
            sys.exit(f"{failed} is red without any bug, so it tells nothing")
        for test in tests:
            report.add(test, "green", 0)
        for bug in todo:
            caught, seconds = bite(bug, green, work, named_only=options.named_only)
            report.add(bug.name, caught or "", seconds)
            print(f"{'caught' if caught else 'MISSED'}  {bug.name}: {caught or '-'}, {seconds:.0f} s", flush=True)
    caught_bugs = [bug for bug in bugs if known[bug.name]]
    print(f"{len(caught_bugs)} of {len(bugs)} planted bugs caught")
    faults = {bug.original for bug in caught_bugs if bug.original}
    print(f"red on the original's behaviour: {len(faults)} of its faults, {sorted(faults)}")
    return len(bugs) - len(caught_bugs)


if __name__ == "__main__":
    sys.exit(main())
