"""What `import walcore` says and costs where something is missing, and where nothing is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import walcore

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).parents[2]
WINDOWS = "import sys; sys.platform = 'win32'; "
# Each of these costs more than the rest of the import together.
LATE = ["asyncio", "brickschema", "click", "crc32c", "isal", "pyoxigraph", "rich"]


def python(code: str, *, path: Path | None = None, cwd: str | Path = "/") -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def uncompiled(tmp_path: Path) -> Path:
    """A folder in which walcore is found before the installed one, and not compiled."""
    shutil.copytree(ROOT / "walcore", tmp_path / "walcore", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path


def test_without_the_compiled_core_the_error_names_the_command_to_run(uncompiled: Path) -> None:
    done = python("import walcore", path=uncompiled)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip install" in last


def test_another_module_that_is_missing_is_not_taken_for_the_core(tmp_path: Path) -> None:
    shutil.copytree(Path(walcore.__file__).parent, tmp_path / "walcore")
    (tmp_path / "walcore" / "config.py").write_text("import no_such_module_of_yours\n")
    done = python("import walcore; walcore.open", path=tmp_path)
    assert done.stderr.strip().splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_module_of_yours'"


def test_on_windows_the_import_fails_with_one_sentence() -> None:
    done = python(WINDOWS + "import walcore")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "Windows" in last


def test_on_windows_the_build_fails_with_one_sentence() -> None:
    done = python(WINDOWS + "import runpy; runpy.run_path('setup.py')", cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "Windows" in done.stderr


def test_importing_and_opening_bring_in_nothing_that_can_wait(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    code = f"import sys, walcore; walcore.open({log!r}).close(); print(*sys.modules)"
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert set(LATE).isdisjoint(done.stdout.split())
