"""walcore.testing as pytest fixtures: `pytest_plugins = ["walcore.testing.fixtures"]` in the topmost conftest.py.

`disk` is a watched folder, `power_cuts` tries a recovery on what power cuts leave of it.  `--disk-seed=N` draws others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from walcore.testing.disk import Disk, PowerCut
from walcore.testing.states import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class PowerCuts(Protocol):
    """What the fixture `power_cuts` is."""

    def __call__(self, recovers: Callable[[PowerCut], object], *, states: int = 2) -> int:
        """Call `recovers` with what a power cut leaves after every step: the plain cases, and `states` drawn ones.

        Returns:
            How many different states there were.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --disk-seed."""
    parser.addoption("--disk-seed", type=int, default=0, help="draws other faults and other states of power cuts")


@pytest.fixture(scope="session")
def disk_seed(pytestconfig: pytest.Config) -> int:
    """The number that everything is drawn by; --disk-seed."""
    seed: int = pytestconfig.getoption("--disk-seed")
    return seed


@pytest.fixture
def disk(tmp_path: Path, disk_seed: int) -> Iterator[Disk]:
    """An empty folder of the test's own, `disk.path`, watched until the test ends."""
    with Disk(tmp_path / "disk", seed=disk_seed) as watched:
        yield watched


@pytest.fixture
def power_cuts(disk: Disk, tmp_path: Path, disk_seed: int) -> PowerCuts:
    """`disk.try_power_cuts`, into a folder of the test's own."""

    def run(recovers: Callable[[PowerCut], object], *, states: int = 2) -> int:
        first = len(PLAIN) + disk_seed * states
        seeds = [*range(len(PLAIN)), *range(first, first + states)]
        return disk.try_power_cuts(tmp_path / "power-cuts", recovers, seeds=seeds)

    return run
