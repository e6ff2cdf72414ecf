"""Fed what RDF4J was fed, walcore writes what RDF4J wrote: frame for frame, byte for byte.

Apart from `created` in the header, and the checksums that follow from it (the header's own, and the summary's).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import replay

SHARED = Path(os.environ.get("WALCORE_SHARED", "absent"))
OWN = Path(__file__).parent / "data"
CASES = sorted([*SHARED.glob("golden/*/ops.jsonl"), *OWN.glob("*/ops.jsonl")])


@pytest.fixture(params=CASES, ids=[path.parent.name for path in CASES])
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param.parent


@pytest.fixture
def ours(golden: Path, tmp_path: Path) -> Path:
    replay.replay(golden / "ops.jsonl", tmp_path / "wal", **json.loads((golden / "config.json").read_text()))
    return tmp_path / "wal"


def test_the_same_operations_give_the_same_segments(golden: Path, ours: Path) -> None:
    mine, theirs = replay.segments(ours), replay.segments(golden / "wal")
    assert [name for name, _ in mine] == [name for name, _ in theirs]
    for (name, frames), (_, expected) in zip(mine, theirs, strict=True):
        assert frames == expected, name


def test_segments_sealed_by_both_have_the_same_highest_id(golden: Path, ours: Path) -> None:
    assert replay.summaries(ours).items() >= replay.summaries(golden / "wal").items()


def test_the_golden_logs_are_there(shared: Path) -> None:
    assert len(list(shared.glob("golden/*/ops.jsonl"))) >= 8
