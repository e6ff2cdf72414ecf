"""gate.py [BASE]: fails when walcore has become slower since the commit BASE.

Builds BASE and this checkout on this machine, in this job, since times of another machine or another day say nothing;
takes runs of the two in turns; and fails when for any question the fastest run of this one is slower than the slowest
of BASE by a tenth.  BASE is by default where this branch left origin/main or main, on that branch itself the parent.
Where BASE isn't there or doesn't build there is nothing to compare with: a line says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

from measure import HERE, Pairs, RunError, Workplace, in_turns
from parameters import READING, SCALES

ROOT = HERE.parent
ROUNDS = 5
SLOWER = 1.10
MAIN = ("origin/main", "main")


class NoBaseError(Exception):
    """Nothing to compare with; the message says why."""


def git(*arguments: str) -> str | None:
    """What git says, None where it refuses."""
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def base_commit(wanted: str | None) -> str:
    """The hash of the commit to compare with."""
    head = git("rev-parse", "--verify", "HEAD^{commit}")
    if wanted is None:
        forks = [fork for main in MAIN if (fork := git("merge-base", "HEAD", main))]
        wanted = forks[0] if forks and forks[0] != head else "HEAD^"
    found = git("rev-parse", "--verify", f"{wanted}^{{commit}}")
    if found is None:
        msg = f"{wanted} is not in this clone"
        raise NoBaseError(msg)
    return found


def unpack(commit: str, folder: Path) -> Path:
    """The tree of a commit."""
    folder.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def install(source: Path, target: Path) -> Path:
    """Build a walcore into a folder of its own, with what it needs."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), f"{source}[fast]"]
    subprocess.run(command, capture_output=True, text=True, check=True)
    return target


def install_base(commit: str, folder: Path) -> Path:
    """Build the base, or say why there is none."""
    try:
        return install(unpack(commit, folder / "base-source"), folder / "base")
    except subprocess.CalledProcessError as exc:
        last = (exc.stderr or "").strip().splitlines()[-1:] or [str(exc)]
        msg = f"{commit[:10]} doesn't build: {last[0]}"
        raise NoBaseError(msg) from exc


def compare(work: Workplace, question: str, logs: dict[Path, Path], new: Path, old: Path) -> Pairs:
    """Runs of both in turns, each on the log that it wrote itself."""
    ours, theirs = (
        partial(work.ask, question, logs[package] if question in READING else None, package) for package in (new, old)
    )
    return in_turns(ROUNDS, ours, theirs)


def is_slower(pairs: Pairs) -> bool:
    """Whether the best of ours is worse than the worst of theirs by more than what machines do by themselves."""
    return max(pairs.ours) * SLOWER < min(pairs.theirs)


def gate(work: Workplace, base: str | None) -> list[str]:
    """Compare, telling each line as it comes; returns the questions that got slower."""
    commit = base_commit(base)
    old = install_base(commit, work.folder)
    new = install(ROOT, work.folder / "new")
    print(f"gate: this checkout beside {commit[:10]}, {ROUNDS} runs of each in turns; rates a second")
    print(f"{'question':<14}{'base: lowest':>14}{'highest':>14}{'now: lowest':>14}{'highest':>14}{'ratio':>8}")
    logs = {package: work.folder / f"{package.name}-log" for package in (new, old)}
    slower = []
    for package, log in logs.items():
        work.script("run.py", "append", log, package=package)
    for question in work.parameters.questions:
        try:
            pairs = compare(work, question, logs, new, old)
        except RunError as exc:
            if exc.package == new:
                raise
            print(f"{question:<14}not compared: {str(exc).strip().splitlines()[-1]}")
            continue
        numbers = min(pairs.theirs), max(pairs.theirs), min(pairs.ours), max(pairs.ours)
        mark = "  SLOWER" if is_slower(pairs) else ""
        print(f"{question:<14}" + "".join(f"{number:>14,.0f}" for number in numbers) + f"{pairs.ratio:>8.2f}{mark}")
        slower += [question] if mark else []
    return slower


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", help="a commit")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a folder on the disk to be measured")
    parser.add_argument("--scale", choices=sorted(SCALES), default="quick")
    arguments = parser.parse_args()
    with Workplace(arguments.work, arguments.scale) as work:
        try:
            slower = gate(work, arguments.base)
        except NoBaseError as exc:
            print(f"gate: nothing to compare with, {exc}")
            return 0
    if slower:
        print(f"gate: slower than before: {', '.join(slower)}")
    return bool(slower)


if __name__ == "__main__":
    sys.exit(main())
