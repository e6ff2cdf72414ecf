"""The tables of planted bugs fit the sources: what a bug replaces is there, and so are the tests that should see it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bites"))
import run as bites

ROOT = Path(__file__).parents[2]
BUGS = bites.load()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_fits_the_sources(tmp_path: Path, bug: bites.Bug) -> None:
    for file in {edit.file for edit in bug.edits}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text((ROOT / file).read_text())
    bug.plant(tmp_path)
    for path in tmp_path.rglob("*.py"):
        compile(path.read_text(), path, "exec")
    assert all((ROOT / "walcore" / "_core" / f"{module}.pyx").exists() for module in bug.build)
    for test in bug.tests:
        file, _, function = test.partition("::")
        assert (ROOT / file).exists(), test
        assert not function or f"def {function.partition('[')[0]}(" in (ROOT / file).read_text(), test


def test_names_are_given_once_and_the_short_form_is_of_them() -> None:
    names = [bug.name for bug in BUGS]
    assert len(set(names)) == len(names) >= 30
    assert set(bites.SHORT) <= set(names)


def test_each_fault_of_the_original_is_planted_and_has_a_test_that_sees_it() -> None:
    faults = (ROOT / "tests" / "crash" / "test_original_faults.py").read_text()
    tested = {int(number) for number in re.findall(r"^def test_([0-9]+)_", faults, re.MULTILINE)}
    planted = {
        bug.original
        for bug in BUGS
        if bug.original
        and any(f"::test_{bug.original:02}_" in test or test.endswith("faults.py") for test in bug.tests)
    }
    assert tested == planted == set(range(1, 13))
