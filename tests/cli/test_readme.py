"""What the README shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment
from folders import lsns

from walcore.cli.app import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(program, folder):
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True).stdout


def test_the_program_runs_as_it_stands(tmp_path):
    said = run(PROGRAMS[0], tmp_path)
    assert "id=42" in said
    assert "Zürich" in said


def test_the_program_on_asyncio_runs_as_it_stands(tmp_path):
    run(PROGRAMS[1], tmp_path)
    assert lsns(tmp_path / "wal") == list(range(1, 65))


def test_it_names_every_command_and_no_other():
    assert set(re.findall(r"`(?:[.\w/]*/)?walcore ([a-z]+)", README)) == set(COMMANDS)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_its_links_lead_somewhere(link):
    assert (Path(__file__).parents[2] / link).exists()
