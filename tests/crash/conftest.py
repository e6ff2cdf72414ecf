"""Tests of this folder share the programs beside them, and the preloaded shim."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import faults


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim that makes system calls fail, built anew."""
    built = faults.build(tmp_path_factory.mktemp("shim"))
    if built is None:
        pytest.skip("the shim that makes system calls fail needs Linux and a C compiler")
    return built
