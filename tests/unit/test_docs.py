"""What the documents say is true: the worked frame, the names, the links."""

from __future__ import annotations

import inspect
import re
import struct
from pathlib import Path

import crc32c
import oracle
import pytest

import walcore
from walcore._core import encode

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FORMAT = (ROOT / "docs" / "format.md").read_text()
RECORD = (1, 42, "L", "Zürich", "", "de", 7)


@pytest.fixture(scope="module")
def worked_frame() -> bytes:
    """The bytes of the one dump in docs/format.md."""
    (dump,) = re.findall(r"```hex\n(.*?)```", FORMAT, re.DOTALL)
    return bytes.fromhex("".join(line[4:].split("|")[0] for line in dump.splitlines()))


def test_the_worked_frame_is_what_the_encoder_writes(worked_frame: bytes) -> None:
    assert worked_frame == encode.mint_frame(*RECORD) == oracle.mint_frame(*RECORD)


def test_the_worked_frame_is_read_back(worked_frame: bytes, tmp_path: Path) -> None:
    header = encode.header_frame("123e4567-e89b-12d3-a456-426614174000", 1_700_000_000, 1, 42)
    (tmp_path / "wal-42.v1").write_bytes(header + worked_frame)
    reader = walcore.read(tmp_path)
    assert list(reader) == [walcore.Record(*RECORD)]
    assert reader.report.complete


def test_what_is_said_of_the_worked_frame_holds(worked_frame: bytes) -> None:
    length, line = struct.unpack_from("<I", worked_frame)[0], worked_frame[4:-4]
    assert f"| {length} bytes of JSON follow |" in FORMAT
    assert f"`{line[:-1].decode()}`" in FORMAT
    assert f"CRC-32C 0x{crc32c.crc32c(line):08X}" in FORMAT
    assert f"| 0x{len(worked_frame) - 4:02X} | `{worked_frame[-4:].hex(' ')}` |" in FORMAT


@pytest.mark.parametrize("name", sorted(walcore.__all__))
def test_every_public_name_has_a_docstring(name: str) -> None:
    thing = getattr(walcore, name)
    if not (inspect.isclass(thing) or callable(thing)):
        return
    assert inspect.getdoc(thing), name
    members = {} if not inspect.isclass(thing) else vars(thing)
    for member, value in members.items():
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for decision in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        assert f"({decision.name})" in index


def test_every_tox_environment_is_explained() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"^\[testenv:([^]]+)\]", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    for name in ",".join(named).replace("{", "").replace("}", "").split(","):
        assert f"`-e {name}`" in contributing, name


def test_the_version_is_the_one_in_the_changes() -> None:
    assert f"## {walcore.__version__} " in (ROOT / "CHANGES.md").read_text()
