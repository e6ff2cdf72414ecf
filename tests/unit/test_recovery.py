"""Recovery: which value counts, and what is told about the others."""

from __future__ import annotations

from pathlib import Path

import logs
import pytest

from walcore.errors import CorruptionError, IncompleteError
from walcore.recovery import Conflict, recover

A1, B2, A3 = logs.record(1, 5, "old"), logs.record(2, 6, "b"), logs.record(3, 5, "new")


def test_every_id_has_its_record(tmp_path: Path) -> None:
    records = logs.log(tmp_path, [logs.record(1), logs.record(2)], [logs.record(3, -7)], seal=True)
    found = recover(tmp_path)
    assert found.records == {1: records[0], 2: records[1], -7: records[2]}
    assert (found.conflicts, found.report.complete, found.report.records) == ((), True, 3)


@pytest.mark.parametrize("parts", [[[A1, B2, A3]], [[A1, B2], [A3]], [[A1], [B2], [A3]]])
def test_the_newest_value_wins_and_the_conflict_is_told(tmp_path: Path, parts: list[list[logs.Record]]) -> None:
    logs.log(tmp_path, *parts)
    found = recover(tmp_path)
    assert (found.records, found.conflicts) == ({5: A3, 6: B2}, (Conflict(5, A3, A1),))
    found = recover(tmp_path, on_conflict="first")
    assert (found.records, found.conflicts) == ({5: A1, 6: B2}, (Conflict(5, A1, A3),))
    with pytest.raises(CorruptionError, match="id 5 two values, with LSN 1 and LSN 3"):
        recover(tmp_path, on_conflict="error")


def test_within_a_segment_the_higher_lsn_wins(tmp_path: Path) -> None:
    logs.log(tmp_path, [A3, B2, A1])
    assert recover(tmp_path).records[5] == A3
    assert recover(tmp_path, on_conflict="first").records[5] == A3


def test_between_segments_the_later_one_wins_whatever_the_lsn(tmp_path: Path) -> None:
    first = [logs.record(8, 5, "reused lsn")]
    logs.log(tmp_path, first, [logs.record(3, 5, "newer")])
    assert recover(tmp_path).records[5].lexical == "newer"


def test_of_three_values_in_one_batch_the_highest_lsn_wins(tmp_path: Path) -> None:
    rows = [logs.record(lsn, 5, f"value {lsn}") for lsn in (2, 3, 1)]
    logs.log(tmp_path, rows)
    found = recover(tmp_path)
    assert found.records == {5: rows[1]}
    assert found.conflicts == (Conflict(5, rows[1], rows[0]), Conflict(5, rows[1], rows[2]))


def test_the_same_value_twice_is_no_conflict(tmp_path: Path) -> None:
    again = logs.record(4, 5, "old")
    logs.log(tmp_path, [A1], [again])
    found = recover(tmp_path, on_conflict="error")
    assert (found.records, found.conflicts) == ({5: again}, ())


def test_an_incomplete_log_raises_with_what_there_is(tmp_path: Path) -> None:
    logs.log(tmp_path, [A1], [B2], [logs.record(4)])
    (tmp_path / "wal-6.v1").unlink()
    with pytest.raises(IncompleteError, match="allow_incomplete=True") as caught:
        recover(tmp_path)
    assert (set(caught.value.records), caught.value.report.complete) == ({5, 4}, False)
    found = recover(tmp_path, allow_incomplete=True)  # no warning: it was asked for
    assert (set(found.records), found.report.complete) == ({5, 4}, False)
    with pytest.raises(CorruptionError, match="missing_segment"):
        recover(tmp_path, mode="STRICT")


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="last, first, error"):
        recover(tmp_path, on_conflict="newest")
    with pytest.raises(ValueError, match="STRICT"):
        recover(tmp_path, mode="x")
    with pytest.raises(FileNotFoundError):
        recover(tmp_path / "none")
    assert recover(tmp_path).records == {}
