"""Which LSNs and ids a repair calls lost: all that can be, and none that a file still has."""

from __future__ import annotations

import gzip
from pathlib import Path

import folders
import logs
import openings
import oracle
import pytest

import walcore


def test_a_loss_that_reaches_into_the_open_end_keeps_its_beginning(tmp_path: Path) -> None:
    """Two damaged files have number 1.  The one that counts ends between 301 and 399; the other says 300 to 499."""
    counts = folders.sealed(folders.plain(1, range(1, 400)), 399)[:-100]
    other = b"".join(folders.mint(lsn, f"urn:other:{lsn}") for lsn in range(300, 500))
    other = folders.sealed(oracle.header_frame(folders.STORE, 0, 1, 300) + other, 499)[:-4]
    wal = folders.put(tmp_path / "wal", wal_1_gz=counts, wal_300_gz=other)
    plan = walcore.repair(wal)
    (first, last), (tail, end) = plan.lost
    assert (first, last, end) == (300, tail - 1, None)
    assert 301 < tail <= 400


@pytest.mark.parametrize(("vouched", "clean"), [(False, True), (True, True), (True, False)])
def test_how_much_is_lost_at_the_end_is_known_only_where_the_state_vouches_for_it(
    tmp_path: Path, vouched: bool, clean: bool
) -> None:
    whole = folders.sealed(folders.plain(2, range(6, 400)), 399)
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST)
    openings.close_cleanly(wal, 5, clean=False)
    folders.put(wal, wal_6_gz=whole)
    if vouched:
        openings.close_cleanly(wal, 399, clean=clean)
    folders.put(wal, wal_6_gz=whole[:-100])
    ((first, last),) = walcore.repair(wal).lost
    assert 300 < first < 399
    assert last == (399 if vouched else None)


def test_an_id_that_a_header_tells_of_is_not_called_lost_if_another_file_has_it(tmp_path: Path) -> None:
    damaged = bytearray(folders.plain(3, [6, 7]))
    damaged[len(folders.plain(3, [])) + 20] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6=bytes(damaged))
    assert walcore.repair(wal).lost_ids == (6,)
    plan = walcore.repair(folders.put(wal, wal_9=folders.headless(folders.plain(3, [6, 7]))))
    assert plan.lost_ids == ()
    plan.apply()
    assert {record.id for record in walcore.read(wal, mode="STRICT")} == {1, 2, 3, 4, 5, 6, 7}


def test_an_id_that_only_a_summary_tells_of_is_called_lost(tmp_path: Path) -> None:
    whole = folders.plain(1, [1001, 1002]) + oracle.summary_frame(1009, 1)
    wal = folders.put(tmp_path / "wal", wal_1001_gz=gzip.compress(whole))
    assert 1009 in walcore.repair(wal).lost_ids


@pytest.mark.parametrize(
    ("segments", "lost"),
    [
        ({"wal_1": folders.FIRST, "wal_8": folders.plain(2, [8, 9])}, ()),
        ({"wal_1": folders.FIRST, "wal_8": folders.plain(3, [8, 9])}, ((6, 7),)),
        ({"wal_8": folders.plain(2, [8, 9]), "wal_12": folders.plain(3, [12])}, ((1, 7),)),
        (
            {
                "wal_1": folders.FIRST,
                "wal_8": folders.headless(folders.plain(2, range(8, 10))),
                "wal_12": folders.plain(3, [12]),
            },
            ((6, 7), (10, 11)),
        ),
        ({"wal_1": folders.FIRST, "wal_8": folders.plain(2, [8]), "wal_12": folders.plain(4, [12])}, ((9, 11),)),
    ],
    ids=["nothing is missing", "a number in between", "the first one", "a header", "a number behind a jump"],
)
def test_lsns_that_nobody_has_are_lost_only_where_a_file_or_a_header_is(
    tmp_path: Path, segments: dict[str, bytes], lost: tuple[tuple[int, int], ...]
) -> None:
    """A jump of LSNs between two sound segments is what a crash leaves."""
    plan = walcore.repair(folders.put(tmp_path / "wal", **segments))
    assert plan.lost == lost
    assert bool(plan.steps) == bool(lost)


@pytest.mark.parametrize("gone", [1, len(folders.mint(5))])
def test_an_end_that_was_on_disk_and_is_gone_is_one_fault(tmp_path: Path, gone: int) -> None:
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST)
    openings.close_cleanly(wal, 5)
    folders.put(wal, wal_1=folders.FIRST[:-gone])
    (fault,) = walcore.repair(wal).faults
    assert (str(fault.kind), fault.lsn_before, fault.lsn_after) == ("corrupt_frame", 4, None)
    assert fault.offset == len(folders.FIRST) - len(folders.mint(5))


@pytest.mark.parametrize("clean", [False, True])
def test_of_a_last_segment_that_went_the_state_tells_the_end(tmp_path: Path, clean: bool) -> None:
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6=folders.plain(2, range(6, 10)))
    openings.close_cleanly(wal, 9, clean=clean)
    (wal / "wal-6.v1").unlink()
    assert walcore.repair(wal).lost == ((6, 9),)


def test_of_a_record_that_is_none_its_lsn_and_id_are_lost_and_nothing_else(tmp_path: Path) -> None:
    invalid = logs.raw_frame(b'{"t":"M","lsn":7,"id":70,"vk":"Q","lex":""}\n')
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST + invalid + folders.mint(10))
    plan = walcore.repair(wal)
    assert (plan.lost, plan.lost_ids) == (((7, 7),), (70,))


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("content", [b"garbage" * 1000, bytes(5000), folders.plain(3, [10, 11])[:100]])
def test_a_file_behind_what_the_state_knows_of_can_have_held_anything_unless_the_log_was_closed(
    tmp_path: Path, content: bytes, clean: bool
) -> None:
    """Of a segment begun since the state was written nothing else tells."""
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6=folders.plain(2, range(6, 10)))
    openings.close_cleanly(wal, 9, clean=clean)
    folders.put(wal, wal_10=content)
    assert walcore.repair(wal).lost == (() if clean else ((10, None),))


def test_a_file_that_can_be_what_the_state_misses_is_no_further_loss(tmp_path: Path) -> None:
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6=folders.plain(2, range(6, 10)))
    openings.close_cleanly(wal, 9)
    folders.put(wal, wal_6=b"garbage" * 1000)
    assert walcore.repair(wal).lost == ((6, 9),)


def test_of_a_log_at_work_behind_a_purge_nothing_tells_the_end(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal", store_uuid=folders.STORE) as log:
        log.log_mint_many(range(1, 6), "I", "urn:x")
        log.purge_all_segments()
        state = (tmp_path / "wal" / "walcore.state").read_bytes()
    (tmp_path / "wal" / "walcore.state").write_bytes(state)
    (tmp_path / "wal" / "wal-6.v1").write_bytes(b"garbage" * 1000)
    assert walcore.repair(tmp_path / "wal").lost[-1][1] is None


def test_behind_a_header_made_anew_nothing_tells_the_end(tmp_path: Path) -> None:
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST)
    openings.close_cleanly(wal, 5)
    folders.put(wal, wal_6=folders.headless(folders.plain(2, range(6, 10))))
    assert walcore.repair(wal).lost == ((10, None),)


def test_what_goes_aside_is_lost_but_for_what_its_neighbours_have(tmp_path: Path) -> None:
    wal = folders.put(
        tmp_path / "wal",
        wal_1=folders.plain(1, [1, 2, 3]),
        wal_5=folders.plain(2, [5, 6]),
        wal_9=folders.headless(folders.plain(9, range(3, 6))),
    )
    plan = walcore.repair(wal)
    assert (plan.lost, plan.lost_ids) == (((4, 4),), (4,))
