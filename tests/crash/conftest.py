"""Tests of this folder share the programs beside them, and the preloaded shim."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import preloads
import scratch


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """In memory; what a test that failed leaves is in pytest's own folder afterwards."""
    failed = request.session.testsfailed
    with tempfile.TemporaryDirectory(prefix="walcore-", dir=scratch.memory()) as folder:
        yield Path(folder)
        if request.session.testsfailed > failed:
            shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim that makes system calls fail, built anew."""
    return preloads.build(Path(__file__).with_name("shim.c"), tmp_path_factory.mktemp("shim"))
