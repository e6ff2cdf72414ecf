"""RDF4J's writer, compiled once for all tests of this folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def command(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line of the harness, compiled from the original's source."""
    missing = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"RDF4J's writer can't be built: no {', '.join(missing)} on PATH (needs JDK 17 and Maven)")
    script = shared / "upstream" / "build.sh"
    done = subprocess.run(
        ["sh", script, tmp_path_factory.mktemp("harness")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
