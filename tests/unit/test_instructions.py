"""The comparison of counted instructions with the table; valgrind has no part in it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

# At the end: its run.py is not the one that other tests import.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import instructions

KEY = {"python": "3.11.7 (main) [GCC 12.2.0]", "compiler": 'GCC: (a "quoted" one) 12.2.0'}
COUNTS = {"append": 612.0, "decode": 1000.0}
SEVEN = "append: 612 -> 655 instructions a record, +7.0 %; if that is meant, run tox -e instructions -- --accept"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """What is counted from now on; the table holds COUNTS under KEY, and this is where it was made."""
    now = dict(COUNTS)
    table = tmp_path / "instructions.toml"
    table.write_text(instructions.as_toml(KEY, COUNTS))
    monkeypatch.setattr(instructions, "TABLE", table)
    monkeypatch.setattr(instructions, "key", lambda: KEY)
    monkeypatch.setattr(instructions, "measure", lambda: now)
    monkeypatch.setattr(instructions.shutil, "which", lambda _: "/usr/bin/valgrind")
    return now


@pytest.mark.parametrize("factor", [0.971, 1, 1.029])
def test_three_percent_either_way_pass(counted: dict[str, float], factor: float) -> None:
    counted.update({path: count * factor for path, count in COUNTS.items()})
    assert instructions.main([]) == 0


@pytest.mark.parametrize("factor", [0.969, 1.031])
def test_more_than_that_fails_either_way(counted: dict[str, float], factor: float) -> None:
    counted["decode"] *= factor
    assert instructions.main([]) == 1


def test_a_failure_tells_both_numbers_and_what_to_do(
    counted: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    counted["append"] = 655.0
    assert instructions.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == SEVEN


def test_a_path_that_only_one_side_has_fails() -> None:
    (added,) = instructions.changes({**COUNTS, "scan": 1.0}, COUNTS)
    (gone,) = instructions.changes({"append": 612.0}, COUNTS)
    assert added.startswith("scan: not in the table; ")
    assert gone.startswith("decode: in the table and not counted; ")


def test_accepting_writes_what_was_counted_and_what_by(counted: dict[str, float]) -> None:
    counted["append"] = 655.0
    instructions.TABLE.unlink()
    assert instructions.main(["--accept"]) == 0
    assert tomllib.loads(instructions.TABLE.read_text()) == {"key": KEY, "counts": counted}
    assert instructions.main([]) == 0


def test_beside_another_key_nothing_is_counted_and_nothing_fails(
    counted: dict[str, float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "key", lambda: {**KEY, "python": "3.13.1"})
    monkeypatch.setattr(instructions, "measure", lambda: pytest.fail("counted"))
    assert instructions.main([]) == 0
    said = "instructions: nothing compared, the table is of python 3.11.7 (main) [GCC 12.2.0], here 3.13.1\n"
    assert capsys.readouterr().out == said


def test_without_valgrind_one_line_says_so(
    counted: dict[str, float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions.shutil, "which", lambda _: None)
    monkeypatch.setattr(instructions, "measure", lambda: pytest.fail("counted"))
    assert instructions.main([]) == 0
    assert capsys.readouterr().out == "instructions: skipped, no valgrind here\n"


def test_the_table_that_is_kept_has_every_path(tmp_path: Path) -> None:
    table = tomllib.loads(instructions.TABLE.read_text())
    with instructions.paths(tmp_path) as paths:
        assert table["counts"].keys() == paths.keys()
        for go_through in paths.values():
            go_through()
