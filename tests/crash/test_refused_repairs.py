"""What repair refuses, as docs/damage.md has it: it says what to do first, and has changed nothing."""

from __future__ import annotations

import errno
from pathlib import Path

import damage
import folders
import logs
import pytest

import walcore
from walcore.segments import Directory, PurgeMarker
from walcore.testing import Disk


def refused(wal: Path, error: type[Exception], what_to_do: str) -> None:
    before = folders.tree(wal)
    with pytest.raises(error, match=what_to_do):
        walcore.repair(wal)
    assert folders.tree(wal) == before


def test_a_purge_half_done_is_finished_by_opening_first(tmp_path: Path) -> None:
    wal = damage.make(tmp_path / "wal")
    with Directory(wal) as directory:
        directory.write_marker(PurgeMarker(len(damage.RECORDS), logs.STORE, frozenset(), frozenset()))
    refused(wal, walcore.WalError, "open the log once")
    walcore.open(wal).close()
    assert not walcore.repair(wal).steps


def test_a_log_whose_segments_name_two_stores_asks_for_one(tmp_path: Path) -> None:
    wal = damage.make(tmp_path / "wal", closed=False)
    logs.write(wal, "wal-50.v1", logs.plain([logs.record(50)], 2, folders.OTHER_STORE))
    refused(wal, walcore.StoreMismatchError, "segments of 2 stores are there.*--store")
    walcore.repair(wal, store_uuid=logs.STORE).apply()
    assert damage.check_repaired(wal, "two stores") == list(damage.ROWS)


def test_ten_thousand_missing_segments_are_stood_in_for_and_no_more(tmp_path: Path) -> None:
    wal = damage.make(tmp_path / "wal")
    behind = len(damage.SEGMENTS) + 10_001
    logs.write(wal, "wal-50.v1", logs.plain([logs.record(50)], behind))
    assert sum(step.action == "stand in" for step in walcore.repair(wal).steps) == 10_000
    logs.write(wal, "wal-50.v1", logs.plain([logs.record(50)], behind + 1))
    refused(wal, walcore.WalError, "put them back, or move wal-50.v1")


def test_a_read_error_ends_it_wherever_it_is_met(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    wal = damage.make(tmp_path / "disk" / "wal")
    (wal / "wal-4.v1.gz").write_bytes((wal / "wal-4.v1.gz").read_bytes()[:-20])
    before = folders.tree(wal)
    with Disk(tmp_path / "disk") as disk:
        assert walcore.repair(wal).damaged
        reads = disk.count("read")
        for nth in range(1, reads + 1):
            rule = disk.fault("read", errno.EIO, nth=nth)
            with pytest.raises(OSError, match="Input/output error"):
                walcore.repair(wal)
            disk.faults.remove(rule)
    assert reads > 5
    assert folders.tree(wal) == before
