"""Every golden log of RDF4J, read with every mode."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import logs
import pytest

from walcore.errors import CorruptionError, IncompleteError, WalDamageWarning
from walcore.reader import ReadMode, read
from walcore.recovery import recover
from walcore.search import find

SHARED = os.environ.get("WALCORE_SHARED")
CASES = sorted(path.parent.name for path in Path(SHARED, "golden").glob("*/expected.json")) if SHARED else ["(none)"]
# Without damage the four modes agree; with it, this many records come before the first fault.
BEFORE_FIRST_FAULT = {
    "bit-flip": 101, "empty-segment": 0, "garbage-tail": 300, "half-sealed": 24, "huge-length": 300, "missing-first": 0,
    "missing-segment": 47, "sealed-and-plain": 24, "sealed-bad-summary": 47, "sealed-without-summary": 47,
    "torn-after-length": 299, "torn-crc": 299, "torn-json": 299, "torn-length": 299, "torn-then-reopened": 39,
    "truncated-gzip": 41, "unknown-kind": 300, "zero-tail": 300,
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, shared: Path) -> tuple[Path, dict[str, Any]]:
    folder = shared / "golden" / request.param
    return folder / "wal", json.loads((folder / "expected.json").read_text())


def test_there_are_cases(shared: Path) -> None:
    assert len(CASES) >= 27, shared


def test_segment_gives_what_is_expected(case: tuple[Path, dict[str, Any]]) -> None:
    wal, expected = case
    reader = read(wal)
    if expected["complete"]:
        got = [logs.as_row(one) for one in reader]
    else:
        with pytest.warns(WalDamageWarning, match="not complete"):
            got = [logs.as_row(one) for one in reader]
    assert got == expected["records"]
    report = reader.report
    assert [str(fault.kind) for fault in report.faults] == expected["faults"]
    assert (report.complete, report.last_lsn, report.records) == (
        expected["complete"], expected["last_lsn"], len(expected["records"])
    )  # fmt: skip


def test_strict_raises_and_stop_ends_at_the_first_fault(case: tuple[Path, dict[str, Any]]) -> None:
    wal, expected = case
    before = BEFORE_FIRST_FAULT.get(wal.parent.name, len(expected["records"]))
    stop = [logs.as_row(one) for one in read(wal, mode=ReadMode.STOP)]
    assert stop == expected["records"][:before]
    strict, reader = [], read(wal, mode=ReadMode.STRICT)
    if expected["faults"]:
        with pytest.raises(CorruptionError) as caught:
            strict.extend(logs.as_row(one) for one in reader)
        assert caught.value.kind == expected["faults"][0]
    else:
        strict.extend(logs.as_row(one) for one in reader)
    assert strict == stop


@pytest.mark.filterwarnings("ignore::walcore.errors.WalDamageWarning")
def test_salvage_gives_all_that_segment_does_and_what_lies_behind(case: tuple[Path, dict[str, Any]]) -> None:
    wal, expected = case
    got = [logs.as_row(one) for one in read(wal, mode=ReadMode.SALVAGE)]
    if wal.parent.name == "bit-flip":  # one of 204 records is damaged
        assert len(got) == 203
        assert got[:101] == expected["records"]
        assert [row["lsn"] for row in got[101:]] == list(range(103, 205))
    else:
        assert got == expected["records"]


def test_recovery_holds_the_newest_of_each_id(case: tuple[Path, dict[str, Any]]) -> None:
    wal, expected = case
    newest = {row["id"]: row for row in expected["records"]}
    if not expected["complete"]:
        with pytest.raises(IncompleteError):
            recover(wal)
    found = recover(wal, allow_incomplete=True)
    assert {id: logs.as_row(one) for id, one in found.records.items()} == newest


def test_search_finds_every_id(case: tuple[Path, dict[str, Any]]) -> None:
    wal, expected = case
    newest = {row["id"]: row for row in expected["records"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WalDamageWarning)
        for id in list(newest)[:: max(1, len(newest) // 25)]:
            one = find(wal, id)
            assert one is not None
            assert logs.as_row(one) == newest[id]
        assert find(wal, 2_000_000_000) is None
