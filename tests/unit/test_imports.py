"""Imports go one way.  The import-linter contract in pyproject.toml sees `.py` only: here the compiled half is read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# import a.b | cimport a.b | from a.b import c | from a.b cimport c | cdef extern from stays out
IMPORT = re.compile(r"^\s*(?:from\s+(walcore[\w.]*)\s+c?import\s+([\w*]+)|c?import\s+(walcore[\w.]*))", re.MULTILINE)
COMPILED = sorted(path for kind in ("pyx", "pxd", "pyi") for path in (ROOT / "walcore").rglob(f"*.{kind}"))


def layers() -> list[set[str]]:
    """The contract's layers, from the top down."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return [set(layer.split(" | ")) for layer in contract["layers"]]


def imported(source: str) -> set[str]:
    """The modules right below `walcore` that a source imports."""
    found = set()
    for package, name, module in IMPORT.findall(source):
        parts = (package or module).split(".")
        found.add(parts[1] if len(parts) > 1 else name or "walcore")
    return found


def may_import(layer: str) -> set[str]:
    """The layer itself and what lies below it."""
    order = layers()
    place = next(i for i, names in enumerate(order) if layer in names)
    return {layer}.union(*order[place + 1 :])


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.name)
def test_the_core_imports_only_what_lies_below_it(path: Path) -> None:
    layer = path.relative_to(ROOT / "walcore").parts[0].split(".")[0]
    upward = imported(path.read_text()) - may_import(layer)
    assert not upward, f"{path.relative_to(ROOT)} imports {', '.join(sorted(upward))} from above"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from walcore._core.crc32c cimport walcore_crc32c", {"_core"}),
        ("    from walcore import wal", {"wal"}),
        ("cimport walcore._core.decode as decode", {"_core"}),
        ("import walcore", {"walcore"}),
        ('cdef extern from "crc32c.h" nogil:', set()),
        ("# what walcore imports", set()),
    ],
)
def test_every_form_of_import_is_seen(source: str, expected: set[str]) -> None:
    assert imported(source) == expected


def test_every_module_has_a_layer() -> None:
    """What import-linter's `exhaustive` asks for, said where it is seen without the linter."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    named = set().union(*layers(), contract["exhaustive_ignores"], {"__init__"})
    present = {path.stem for path in (ROOT / "walcore").glob("*.py")}
    present |= {path.name for path in (ROOT / "walcore").iterdir() if (path / "__init__.py").exists()}
    assert present <= named
