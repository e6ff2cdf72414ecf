"""Opening on segments of several stores: whose log it is, and that another's is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import OTHER_STORE, STORE, plain, put, tree
from openings import close_cleanly, reopen

import walcore
from walcore.errors import StoreMismatchError
from walcore.faults import FaultKind
from walcore.opening import check_store
from walcore.purge import mark
from walcore.reader import read
from walcore.segments import Directory


def test_the_store_is_that_of_the_newest_header(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1], OTHER_STORE), wal_2=plain(2, [2]))
    assert reopen(tmp_path).store_uuid == STORE
    assert reopen(tmp_path, STORE.upper()).store_uuid == STORE


def test_beside_a_foreign_segment_the_log_stays_its_owners(tmp_path: Path) -> None:
    with walcore.open(tmp_path, store_uuid=STORE) as wal:
        wal.await_durable(wal.log_mint(1, "I", "urn:own"))
    alien = plain(5, [500], OTHER_STORE) + b"torn"
    put(tmp_path, wal_99=alien)
    for lsn, number in ((501, 6), (502, 7)):
        with walcore.open(tmp_path) as wal:
            assert wal.store_uuid == STORE
            assert wal.opening.next_number == number
            assert [f.segment for f in wal.opening.faults if f.kind == FaultKind.FOREIGN_STORE] == ["wal-99.v1"]
            assert "wal-99.v1" not in [segment.name for segment in wal.opening.to_seal]
            assert wal.log_mint(lsn, "I", "urn:new") == lsn
            wal.await_durable(lsn)
        assert tree(tmp_path)["wal-99.v1"] == alien
        with pytest.warns(walcore.WalDamageWarning):
            assert lsn in [record.lsn for record in read(tmp_path)]
        with pytest.warns(walcore.WalDamageWarning):
            assert walcore.find(tmp_path, lsn) is not None


@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("with_marker", [False, True])
def test_what_is_committed_after_any_opening_is_read_back(
    tmp_path: Path, number: int, with_state: bool, with_marker: bool
) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    if with_state:
        close_cleanly(tmp_path, 2)
    if with_marker:
        with Directory(tmp_path) as directory:
            mark(directory, 3, STORE)
    put(tmp_path, wal_50=plain(number, [50], OTHER_STORE), wal_51=b"", wal_52=plain(3, [52], OTHER_STORE))
    with walcore.open(tmp_path) as wal:
        assert wal.store_uuid == (STORE if with_state or with_marker else OTHER_STORE)
        wal.await_durable(wal.log_mint(77, "I", "urn:new"))
    with pytest.warns(walcore.WalDamageWarning):
        assert 77 in [record.id for record in read(tmp_path)]


@pytest.mark.parametrize("with_state", [False, True])
def test_another_store_is_refused_before_anything_is_written(tmp_path: Path, with_state: bool) -> None:
    put(tmp_path, wal_1=plain(1, [1]) + b"torn", wal_2=b"")
    (tmp_path / "wal-3.v1.gz.walcore-tmp").write_bytes(b"half")
    if with_state:
        close_cleanly(tmp_path, 1)
        for name in ("wal-1.v1", "wal-2.v1"):
            (tmp_path / name).unlink()
    before = tree(tmp_path)
    with pytest.raises(StoreMismatchError, match=f"{STORE}, not of {OTHER_STORE}.*Leave store_uuid out"):
        reopen(tmp_path, OTHER_STORE)
    with Directory(tmp_path) as directory, pytest.raises(StoreMismatchError):
        check_store(directory, OTHER_STORE)
    assert tree(tmp_path) == before
