"""What the runner for sanitizers names, by file or by a part of a name, is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sanitize"))
import sanitize

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("sanitizer", sanitize.SHORT)
def test_the_short_form_is_of_tests_that_are_there(sanitizer: str) -> None:
    assert [test for test in sanitize.short(sanitizer) if not (ROOT / test).exists()] == []


@pytest.mark.parametrize("sanitizer", sanitize.LEFT_OUT)
def test_what_is_left_out_is_there_to_be_left_out(sanitizer: str) -> None:
    tests = "\n".join(f"{path.stem}\n{path.read_text()}" for path in (ROOT / "tests").glob("[up]*/test_*.py"))
    words = sanitize.LEFT_OUT[sanitizer]
    assert [word for word in words if not re.search(rf'(def|test)\w* ?\w*{word}|"[^"\n]*{word}', tests)] == []
