"""The worked example of docs/testing.md: its test finds the planted bug, and passes once that is repaired."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r"<!-- ([\w.]+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


def run(folder: Path, engine: str) -> subprocess.CompletedProcess[str]:
    """Pytest over the page's files, with that engine."""
    for name in ("conftest.py", "test_engine.py"):
        (folder / name).write_text(BLOCKS[name])
    (folder / "engine.py").write_text(engine)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_examples_test_finds_its_planted_bug(tmp_path: Path) -> None:
    done = run(tmp_path, BLOCKS["engine.py"])
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    (told,) = re.findall(r"^\s+(json\.decoder\.\w+: .*)$", PAGE, re.MULTILINE)
    # The number of the step is walcore's business.
    (cut,) = re.findall(r"^\s+power cut [\d.]+( .*?;)", PAGE, re.MULTILINE)
    assert told in done.stdout
    assert cut in done.stdout


def test_the_examples_repair_passes(tmp_path: Path) -> None:
    bug, repair = BLOCKS["engine.py"], BLOCKS["repair"]
    first, last = repair.splitlines()[0], repair.splitlines()[-1]
    begin, end = bug.index(first), bug.index(last) + len(last) + 1
    done = run(tmp_path, bug[:begin] + repair + bug[end:])
    assert "1 passed" in done.stdout, done.stdout + done.stderr
