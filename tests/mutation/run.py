"""Mutation testing of the Python side: small changes made by cosmic-ray, each of which a test must see.

    python tests/mutation/run.py --work FOLDER [--sample N] [--seed S] [--modules files cli/cat ..] [--only ID]

A seeded sample of the mutants of all modules is tried in a copy of the checkout, each with the tests that run the
changed line, the most specific first, up to the first red.  FOLDER keeps the results: the same call goes on where it
stopped, and a larger N adds to the sample.  Not counted are changes of annotations alone, which do nothing, and those
that equivalent.toml lists, alone or by kind, with the reason why nobody could tell; calls of `kill` are never changed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parents[1]))
import trees
from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

HERE: Final = Path(__file__).parent
# Those that find most at least cost; a mutant that they don't see has survived.
TESTS: Final = (
    "tests/unit",
    "tests/property",
    "tests/golden",
    "tests/cli",
    *(f"tests/crash/test_{name}.py" for name in ("torn", "damage", "refused_repairs", "original_faults", "verdicts")),
)
# A signal's handler that comes while coverage holds its own lock waits for a thread that waits for that lock; and a
# test of minutes is none for a mutant.
NOT_UNDER_COVERAGE: Final = " and ".join(
    f"not {name}" for name in ("signal_handler", "ctrl_c", "every_single_bit", "flipped", "any_length", "random_damage")
)
FEW: Final = 10
CONTROL: Final = 25
"""After so many mutants the tests are run without one."""
WATCHDOG: Final = 30
_NO_TOUCHING: Final = re.compile(r"\bkill\(")
# Operators that want arguments name the variables of another program.
_OPERATORS: Final = [name for name in operator_names() if "Variable" not in name and "NoOp" not in name]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `operator`'s, at its `occurrence` in `module`, in line `line`."""

    module: str
    operator: str
    occurrence: int
    line: int

    @property
    def id(self) -> str:
        return f"{self.module}:{self.operator.removeprefix('core/')}:{self.occurrence}"


class _Finder(Visitor):
    def __init__(self, module: str) -> None:
        self.module = module
        self.operators = [(name, get_operator(name)()) for name in _OPERATORS]
        self.counts: Counter[str] = Counter()
        self.found: list[Mutant] = []

    def visit(self, node: Any) -> Any:
        for name, operator in self.operators:
            for (line, _), _ in operator.mutation_positions(node):
                self.found.append(Mutant(self.module, name, self.counts[name], line))
                self.counts[name] += 1
        return node


def find_mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module."""
    finder = _Finder(module)
    finder.walk(get_ast(source))
    lines = source.splitlines()
    return [mutant for mutant in finder.found if not _NO_TOUCHING.search(lines[mutant.line - 1])]


def meaning(source: str) -> str | None:
    """What a module does: its tree without annotations and what only type checkers read.  None if it isn't Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # of a lone `*` among parameters some operators make another operator
        return None
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, ast.Constant(None))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.dump(tree)


def run_by_import(source: str) -> set[int]:
    """The lines that run while a module is imported: which test meets them is chance, it imports the module first."""
    within: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            within.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return set(range(1, len(source.splitlines()) + 1)) - within


class Coverage:
    """Which tests run a line, and how long each takes."""

    def __init__(self, tree: Path, work: Path, budget: float) -> None:
        self.budget = budget
        sources = sorted([*tree.glob("walcore/**/*.py"), *tree.glob("tests/**/*.py")])
        state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
        data = work / f"coverage-{state}.json"
        if not data.exists():
            self._measure(tree, work, data)
        found = json.loads(data.read_text())
        self.seconds: dict[str, float] = found["seconds"]
        self.lines: dict[str, dict[int, list[str]]] = {
            module: {int(line): tests for line, tests in lines.items()} for module, lines in found["lines"].items()
        }
        self.imports = {module: run_by_import((tree / "walcore" / f"{module}.py").read_text()) for module in self.lines}
        self.weight: Counter[str] = Counter(
            test for lines in self.lines.values() for tests in lines.values() for test in tests
        )

    @staticmethod
    def _measure(tree: Path, work: Path, target: Path) -> None:
        import coverage

        raw, report, rules = target.with_suffix(".raw"), target.with_suffix(".xml"), work / "coverage.ini"
        if not report.exists():
            print("finding out which tests run which lines ...", flush=True)
            rules.write_text("[run]\nsource_pkgs = walcore\n")
            subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov=walcore", "--cov-context=test",
                 f"--cov-config={rules}", "--cov-report=", f"--junitxml={report}", "-k", NOT_UNDER_COVERAGE, *TESTS],
                cwd=tree, env=trees.environment(tree, COVERAGE_FILE=str(raw)), check=False,
            )  # fmt: skip
        seconds: dict[str, float] = {}
        for case in ET.parse(report).iter("testcase"):
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            if case.find("failure") is None and case.find("error") is None:
                seconds[name] = float(case.get("time", 0))
            else:
                print(f"{name} is red without any mutant, so it tells nothing")
        data = coverage.CoverageData(str(raw))
        data.read()
        lines: dict[str, dict[int, list[str]]] = {}
        for file in data.measured_files():
            tests = {
                line: {name.rpartition("|")[0] for name in names} & seconds.keys()
                for line, names in data.contexts_by_lineno(file).items()
            }
            lines[Path(file).relative_to(tree / "walcore").with_suffix("").as_posix()] = {
                line: sorted(names) for line, names in tests.items()
            }
        target.write_text(json.dumps({"lines": lines, "seconds": seconds}))

    @property
    def limit(self) -> float:
        """Seconds after which a run of tests hangs."""
        return 60 + 5 * self.budget

    def of(self, module: str, line: int) -> list[str]:
        """The tests for a change of that line, the module's own and the most specific first, within the budget."""
        lines = self.lines.get(module, {})
        folder, _, name = module.rpartition("/")
        own = tuple(test for test in self.seconds if re.search(rf"/({folder}/test_|test_{folder}_?){name}\.py", test))
        # What runs at import, or in a process that a test starts, tells no tests of its own: then it is the module's.
        tests = [] if line in self.imports.get(module, ()) else lines.get(line, [])
        tests = tests or sorted({test for some in lines.values() for test in some} | {*own})
        package = module.partition("/")[0]
        tests = tests or [test for test in self.seconds if f"/test_{package}" in test or f"/{package}/" in test]
        chosen, spent = [], 0.0
        for test in sorted(tests, key=lambda test: (test not in own, self.weight[test])):
            cost = self.seconds.get(test, 0.1)
            if spent + cost <= self.budget:
                chosen.append(test)
                spent += cost
        return chosen


def run_tests(tree: Path, tests: list[str], log: Path, limit: float) -> str:
    """Tells "killed", "hung" (killed by the watchdog) or "survived"; pytest runs in a fork that has all else loaded."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.chdir(tree)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(trees.environment(tree))
        sys.path.insert(0, str(tree))
        import pytest

        code = pytest.main(
            ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:cov",
             "-o", f"faulthandler_timeout={WATCHDOG}", "-o", "faulthandler_exit_on_timeout=true", *tests]
        )  # fmt: skip
        os._exit(int(code))
    end = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.waitstatus_to_exitcode(status) == 4 and "not found: " in log.read_text(errors="replace"):
                sys.exit(f"the tests to be run have changed: {log}")
            return "survived" if status == 0 else "killed"
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung"
        time.sleep(0.02)


def mutate(source: str, mutant: Mutant) -> str | None:
    """The mutated source; None where the operator can't do what it offers, as with a dotted name behind `except`."""
    try:
        mutated: str | None = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    except AttributeError:
        return None
    return mutated


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """The line that differs, before and after."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", ""))


class Session:
    """The results so far, in a file that is only ever added to."""

    def __init__(self, work: Path) -> None:
        self.tree = work / "tree"
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.tree, ignore_errors=True)
        trees.copy_checkout(self.tree)
        self.work = work
        self.file = work / "results.jsonl"
        self.sound = self.file.stat().st_size if self.file.exists() else 0
        """Bytes of it that a run without any mutant stands behind."""
        text = self.file.read_text() if self.file.exists() else ""
        self.known: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, text.splitlines())}
        table = tomllib.loads((HERE / "equivalent.toml").read_text())
        self.equivalent = {(one["module"], one["before"], one["after"]) for one in table["equivalent"]}
        self.alike = [(re.compile(f"core/({one['operator']})"), re.compile(one["before"])) for one in table["alike"]]

    def path(self, module: str) -> Path:
        return self.tree / "walcore" / f"{module}.py"

    def modules(self) -> list[str]:
        """All of the package, as `files` or `cli/cat`."""
        package = self.tree / "walcore"
        return sorted(path.relative_to(package).with_suffix("").as_posix() for path in package.rglob("*.py"))

    def sample(self, modules: Iterable[str], seed: int) -> Iterator[tuple[Mutant, str, str, str]]:
        """The mutants that do something, as (mutant, key, original, mutated source): the first N are a sample."""
        sources = {module: self.path(module).read_text() for module in modules}
        originals = {module: meaning(source) for module, source in sources.items()}
        found = [mutant for module, source in sources.items() for mutant in find_mutants(module, source)]
        random.Random(seed).shuffle(found)
        for mutant in found:
            module, source = mutant.module, sources[mutant.module]
            mutated = mutate(source, mutant)
            if mutated is None or meaning(mutated) in {None, originals[module]}:
                continue
            if self.nobody_could_tell(mutant, *changed_lines(source, mutated)):
                continue
            yield mutant, hashlib.sha256(f"{module}\n{mutated}".encode()).hexdigest()[:16], source, mutated

    def nobody_could_tell(self, mutant: Mutant, before: str, after: str) -> bool:
        """Whether equivalent.toml has it, and why."""
        return (mutant.module, before, after) in self.equivalent or any(
            operator.fullmatch(mutant.operator) and line.fullmatch(before) for operator, line in self.alike
        )

    def control(self, coverage: Coverage) -> None:
        """See that tests are green without a mutant.  Where they aren't, what was found since the last time is void."""
        log = self.work / "last.log"
        if run_tests(self.tree, coverage.of("state", 0)[:FEW], log, coverage.limit) == "survived":
            self.sound = self.file.stat().st_size if self.file.exists() else 0
            return
        if self.file.exists():
            os.truncate(self.file, self.sound)
        sys.exit(f"tests are red without any mutant: {log}")

    def try_one(self, coverage: Coverage, mutant: Mutant, key: str, source: str, mutated: str) -> None:
        tests = coverage.of(mutant.module, mutant.line)
        began = time.monotonic()
        path = self.path(mutant.module)
        outcome = "survived"
        try:
            path.write_text(mutated)
            # Collecting hundreds takes longer than the few that mostly tell.
            for some in filter(None, (tests[:FEW], tests[FEW:])):
                outcome = run_tests(self.tree, some, self.work / "last.log", coverage.limit)
                if outcome != "survived":
                    break
        finally:
            path.write_text(source)
        before, after = changed_lines(source, mutated)
        row = asdict(mutant) | {
            "key": key, "id": mutant.id, "outcome": outcome, "before": before, "after": after, "tests": len(tests),
            "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        self.known[key] = row
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=200, help="mutants of all modules together")
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of tests for a mutant")
    parser.add_argument("--minutes", type=float, default=110, help="stop after this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modules", nargs="+", help="these alone")
    parser.add_argument("--only", help="one mutant, by its id, tried again")
    parser.add_argument("--report", action="store_true", help="try nothing, print the figures so far")
    parser.add_argument("--again", action="store_true", help="try survivors again, after tests were added")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    session = Session(options.work.resolve())
    modules, sample = options.modules or session.modules(), options.sample
    if options.only:
        modules, sample = [options.only.partition(":")[0]], None
    coverage = None if options.report else Coverage(session.tree, session.work, options.budget)
    # What every run of the tests imports; not walcore, which each run imports changed.
    for name in ("numpy", "pytest"):
        importlib.import_module(name)
    assert "walcore" not in sys.modules
    keys, tried = [], 0
    for mutant, key, source, mutated in itertools.islice(session.sample(modules, options.seed), sample):
        if options.only and mutant.id != options.only:
            continue
        keys.append(key)
        again = options.only or (options.again and session.known.get(key, {}).get("outcome") == "survived")
        if coverage and (key not in session.known or again) and time.monotonic() < end:
            if tried % CONTROL == 0:
                session.control(coverage)
            session.try_one(coverage, mutant, key, source, mutated)
            tried += 1
    if coverage and tried:
        session.control(coverage)
    report([session.known[key] for key in keys if key in session.known])
    return 0


def report(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["outcome"] == "survived":
            print(f"  survived {row['id']} line {row['line']} ({row['tests']} tests)")
            print(f"    - {row['before']}\n    + {row['after']}")
    for module in sorted({row["module"] for row in rows}):
        print(_figure(module, Counter(row["outcome"] for row in rows if row["module"] == module)))
    print(_figure("all", Counter(row["outcome"] for row in rows)))


def _figure(name: str, counts: Counter[str]) -> str:
    tried, seen = counts.total(), counts["killed"] + counts["hung"]
    return f"{name}: {seen} of {tried} mutants killed ({100 * seen / max(1, tried):.1f} %), {counts['hung']} by hanging"


if __name__ == "__main__":
    sys.exit(main())
