"""What pip gets: the sdist and the wheel made of it, and what becomes of a module that is gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).parents[2]
SOURCES = ["walcore", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"]


def copy_of_the_sources(to: Path) -> Path:
    """What git would check out of them: nothing compiled, nothing generated."""
    to.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, to / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(path, to)
    return to


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def build_wheel(sources: Path, to: Path) -> set[str]:
    shutil.rmtree(to, ignore_errors=True)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", to, sources, cwd=to.parent)
    (wheel,) = to.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str], Path]:
    """The names in the sdist, those in the wheel that is built from it, and the tree they came from."""
    folder = tmp_path_factory.mktemp("distributions")
    sources = copy_of_the_sources(folder / "sources")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", sources, cwd=folder)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    return packed, set(zipfile.ZipFile(wheel).namelist()), sources


def test_the_sdist_holds_every_source_and_nothing_generated(distributions: tuple[set[str], set[str], Path]) -> None:
    packed, _, sources = distributions
    written = {str(path.relative_to(sources)) for path in (sources / "walcore").rglob("*") if path.is_file()}
    assert {name for name in packed if name.startswith("walcore/") and "." in Path(name).name} == written


def test_the_wheel_built_from_the_sdist_holds_what_users_need(distributions: tuple[set[str], set[str], Path]) -> None:
    _, wheel, sources = distributions
    core = sources / "walcore" / "_core"
    compiled = {name.split(".")[0] for name in wheel if name.endswith(".so")}
    assert compiled == {f"walcore/_core/{path.stem}" for path in core.glob("*.pyx")}
    assert "walcore/py.typed" in wheel
    assert {f"walcore/_core/{path.name}" for kind in ("pxd", "pyi") for path in core.glob(f"*.{kind}")} <= wheel
    assert not [name for name in wheel if name.endswith((".pyx", ".c", ".h")) or name.startswith("tests")]
    assert {Path(name).name for name in wheel if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_building_leaves_no_generated_c_and_no_build_folder(distributions: tuple[set[str], set[str], Path]) -> None:
    _, _, sources = distributions
    generated = [path for path in sources.rglob("*.c") if path.with_suffix(".pyx").exists()]
    assert not generated
    assert not (sources / "build").exists()


def test_a_module_deleted_since_is_not_shipped(tmp_path: Path) -> None:
    sources = copy_of_the_sources(tmp_path / "sources")
    for path in (sources / "walcore" / "_core").glob("*.pyx"):
        path.unlink()  # compiling them takes long and changes nothing here
    gone = {"walcore/gone.py": "", "walcore/_core/gone.pyx": "answer = 42\n"}
    for name, text in gone.items():
        (sources / name).write_text(text)
    before = build_wheel(sources, tmp_path / "wheels")
    assert {name.split(".")[0] for name in before} > {"walcore/gone", "walcore/_core/gone"}
    for name in gone:
        (sources / name).unlink()
    assert not [name for name in build_wheel(sources, tmp_path / "wheels") if "gone" in name]
