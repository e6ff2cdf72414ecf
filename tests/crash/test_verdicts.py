"""What walcore says of damage, to the word, and what it makes of it: as it was written down, and read by somebody.

A change that is meant: `python tests/crash/verdicts.py > tests/crash/verdicts.txt`, and read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import verdicts

WRITTEN = dict(
    one.split("\n", 1)
    for one in Path(verdicts.__file__).with_suffix(".txt").read_text().removeprefix("=== ").split("\n=== ")
)
CASES = verdicts.cases()


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_on_a_damaged_log_is_as_before(tmp_path: Path, name: str) -> None:
    CASES[name](tmp_path / "wal")
    assert verdicts.verdict(tmp_path / "wal").splitlines() == WRITTEN[name].splitlines()


def test_there_is_a_verdict_on_each_and_on_no_other() -> None:
    assert list(WRITTEN) == list(CASES)
