"""What the README shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

from walcore.cli.app import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_program_runs_as_it_stands(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "id=42" in done.stdout
    assert "Zürich" in done.stdout


def test_it_names_every_command_and_no_other():
    assert set(re.findall(r"`(?:[.\w/]*/)?walcore ([a-z]+)", README)) == set(COMMANDS)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_its_links_lead_somewhere(link):
    assert (Path(__file__).parents[2] / link).exists()
