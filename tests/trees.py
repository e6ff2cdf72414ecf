"""Copies of the checkout, with the compiled modules in their places, that may be broken on purpose."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# A folder hidden, built or fetched is no source; what is compiled comes from the package that is installed.
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".*", "__pycache__", "*.so", "*.egg-info", "build", "dist", "node_modules", "mutants"
)


def installed_core() -> list[Path]:
    """The compiled modules of the walcore that is imported here.  They must be those of this checkout."""
    spec = importlib.util.find_spec("walcore")
    assert spec is not None
    found = [path for folder in spec.submodule_search_locations or () for path in Path(folder, "_core").glob("*.so")]
    assert found, "walcore isn't compiled here: run this with tox"
    return found


def copy_checkout(target: Path) -> Path:
    """Make `target` a copy of the checkout that works by itself; returns it."""
    shutil.copytree(ROOT, target, ignore=_LEFT_OUT)
    for module in installed_core():
        shutil.copy2(module, target / "walcore" / "_core")
    return target


def environment(tree: Path, **more: str) -> dict[str, str]:
    """What makes a Python import `walcore` from `tree`, and leave nothing behind in it."""
    return os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"} | more


def pytest_command(seconds: int) -> list[str]:
    """Runs pytest up to the first red; a test that takes longer than `seconds` is red too, and ends it."""
    return [
        sys.executable, "-m", "pytest", "-x", "-v", "--tb=short", "-p", "no:cacheprovider",
        "-o", f"faulthandler_timeout={seconds}", "-o", "faulthandler_exit_on_timeout=true",
    ]  # fmt: skip
