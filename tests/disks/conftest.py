"""Tests of this folder run as root, on file systems that they mount for themselves: `tox -e disks`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parents[1] / "crash", Path(__file__).parent):
    sys.path.insert(0, str(folder))
import mounts  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.disks)


@pytest.fixture(scope="session", autouse=True)
def own_mounts() -> None:
    """Whatever is mounted, nobody else sees it, and it ends with this process."""
    mounts.enter_own_namespace()
