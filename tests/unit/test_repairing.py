"""What repair takes as arguments, refuses beforehand, and knows of LSNs; tests/crash/test_damage.py has the damage."""

from __future__ import annotations

import gzip
import uuid
from collections import Counter
from pathlib import Path

import folders
import logs
import openings
import oracle
import pytest

import walcore
from walcore.segments import list_segments

FIRST = folders.plain(1, range(1, 6))


def nameless(directory: Path) -> Path:
    """A log whose only header is damaged: nothing tells whose it is."""
    damaged = bytearray(FIRST)
    damaged[12] ^= 1
    return folders.put(directory, wal_1=bytes(damaged))


def test_the_store_may_be_named_by_a_uuid_as_when_opening(tmp_path: Path) -> None:
    wal = nameless(tmp_path / "wal")
    plan = walcore.repair(wal, store_uuid=uuid.UUID(folders.STORE))
    assert plan.store == folders.STORE
    assert walcore.repair(wal, store_uuid=folders.STORE.upper()).store == folders.STORE
    plan.apply()
    with walcore.open(wal, store_uuid=folders.STORE) as log:
        assert log.last_lsn == 5


def test_a_store_that_is_no_uuid_gets_into_no_header(tmp_path: Path) -> None:
    wal = nameless(tmp_path / "wal")
    with pytest.raises(walcore.WalConfigError, match="store_uuid must be a UUID"):
        walcore.repair(wal, store_uuid="my store")


def test_a_state_file_that_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    wal = folders.put(tmp_path / "wal", wal_1=FIRST, wal_1_gz=folders.sealed(FIRST, 5))
    (wal / "walcore.state").mkdir()
    before = folders.tree(wal)
    with pytest.raises(OSError, match="move away what has it"):
        walcore.repair(wal)
    assert folders.tree(wal) == before


def test_an_lsn_behind_a_tear_that_goes_aside_is_not_handed_out_again(tmp_path: Path) -> None:
    torn = FIRST + bytes(600) + folders.mint(1000)
    wal = folders.put(tmp_path / "wal", wal_1=torn, wal_1_gz=folders.sealed(FIRST, 5))
    walcore.repair(wal).apply()
    assert len(list(walcore.read(wal, mode="STRICT"))) == 5
    with walcore.open(wal) as log:
        assert log.log_mint(6, "I", "urn:6") == 1001


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


def test_a_log_of_which_only_a_damaged_purge_marker_is_left_may_become_any_stores(tmp_path: Path) -> None:
    (tmp_path / "walcore.purge").write_bytes(b"{")
    walcore.repair(tmp_path).apply()
    with walcore.open(tmp_path, store_uuid=folders.STORE) as log:
        assert log.log_mint(1, "I", "urn:1") == 1
    assert walcore.repair(tmp_path).steps == ()


def test_a_new_header_has_the_first_id_that_the_name_tells(tmp_path: Path) -> None:
    """Not that of the first record that can be read: RDF4J looks for ids by it."""
    content = bytearray(FIRST)
    content[12] ^= 1
    content[content.index(b"urn:1") + 4] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=bytes(content), wal_6=folders.plain(2, [6]))
    walcore.repair(wal).apply()
    (header,) = [segment.header for segment in list_segments(wal) if segment.number == 1]
    assert header is not None
    assert header.first_id == 1
    assert [record.lsn for record in walcore.read(wal, mode="STRICT")] == [2, 3, 4, 5, 6]


def test_of_two_damaged_files_of_a_number_the_plan_names_each_fault_of_the_one_that_counts(tmp_path: Path) -> None:
    counts, other = bytearray(FIRST), bytearray(folders.plain(1, range(1, 5)))
    for content, values in ((counts, (b"urn:2", b"urn:4")), (other, (b"urn:1", b"urn:3"))):
        for value in values:
            content[content.index(value) + 4] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=bytes(counts), wal_01=bytes(other))
    faults = Counter((fault.segment, str(fault.kind)) for fault in walcore.repair(wal).faults)
    names = {name for name, _ in faults}
    assert names == {"wal-1.v1", "wal-01.v1"}
    aside = next(name for name, kind in faults if kind == "duplicate_segment")
    (kept,) = names - {aside}
    assert faults[kept, "corrupt_frame"] == 2
    assert faults[aside, "corrupt_frame"] == 1


@pytest.mark.parametrize("vouched", [False, True])
def test_how_much_is_lost_at_the_end_is_known_only_where_the_state_vouches_for_it(
    tmp_path: Path, vouched: bool
) -> None:
    whole = folders.sealed(folders.plain(2, range(6, 400)), 399)
    wal = folders.put(tmp_path / "wal", wal_1=FIRST)
    openings.close_cleanly(wal, 5, clean=False)
    folders.put(wal, wal_6_gz=whole)
    if vouched:
        openings.close_cleanly(wal, 399)
    folders.put(wal, wal_6_gz=whole[:-100])
    ((first, last),) = walcore.repair(wal).lost
    assert 300 < first < 399
    assert last == (399 if vouched else None)


def headless(number: int, lsns: range) -> bytes:
    """A segment whose header is damaged, under a name that tells nothing of its number."""
    content = bytearray(folders.plain(number, lsns))
    content[12] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("numbers", "lsns", "number"),
    [
        ((1, 3), range(2004, 2007), 2),
        ((1, 5), range(2004, 2007), 2),
        ((1, 2), range(2020, 2023), 3),
        ((2, 3), range(2001, 2002), 1),
        ((1, 2), range(2004, 2007), None),
    ],
    ids=["between", "after the one before", "behind all", "before all", "nowhere"],
)
def test_a_segment_without_its_header_gets_a_number_where_its_records_belong(
    tmp_path: Path, numbers: tuple[int, int], lsns: range, number: int | None
) -> None:
    first, second = numbers
    wal = folders.put(
        tmp_path / "wal",
        wal_2002=folders.plain(first, [2002, 2003]),
        wal_2007=folders.plain(second, [2007, 2008]),
        **{f"wal_{lsns.start}": headless(9, lsns)},
    )
    plan = walcore.repair(wal)
    plan.apply()
    segments = {s.name.removesuffix(".gz"): s.number for s in list_segments(wal)}
    kept = [record.lsn for record in walcore.read(wal, mode="SEGMENT")]
    if number is None:
        assert sorted(segments.values()) == [1, 2]
        assert "no number is free" in str(plan)
        assert kept == [2002, 2003, 2007, 2008]
    else:
        assert segments[f"wal-{lsns.start}.v1"] == number
        assert kept == sorted([2002, 2003, 2007, 2008, *lsns])


def test_a_large_segment_keeps_unknown_frames_and_gets_a_new_summary(tmp_path: Path) -> None:
    """RDF4J passes over types that it doesn't know, and so does a repair; headers and summaries are made anew."""
    unknown = logs.raw_frame(b'{"t":"X","note":"of a later version"}\n')
    spaced = logs.raw_frame(b'{ "t":"M","lsn":2000,"id":2000,"vk":"I","lex":"urn:odd","dt":"","lang":"","hash":0}\n')
    many = b"".join(folders.mint(lsn, f"urn:{lsn}:" + "x" * 2000) for lsn in range(1001, 2000))
    content = oracle.header_frame(folders.STORE, 0, 1, 1001) + unknown + many + spaced
    wal = folders.put(tmp_path / "wal", wal_1001_gz=gzip.compress(content + oracle.summary_frame(1001, 1)))
    assert [str(fault.kind) for fault in walcore.repair(wal).faults] == ["summary_mismatch"]
    walcore.repair(wal).apply()
    assert [record.lsn for record in walcore.read(wal, mode="STRICT")] == list(range(1001, 2001))
    (path,) = wal.glob("wal-*")
    kept = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert kept.count(unknown) == 1
    assert kept.count(b'{"t":"V"') == 1
    assert kept.count(b'{"t":"S"') == (path.suffix == ".gz")
    assert kept.startswith(content)


def test_an_id_that_a_header_tells_of_is_not_called_lost_if_another_file_has_it(tmp_path: Path) -> None:
    damaged = bytearray(folders.plain(3, [6, 7]))
    damaged[len(folders.plain(3, [])) + 20] ^= 1
    stray = bytearray(folders.plain(3, [6, 7]))
    stray[12] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=FIRST, wal_6=bytes(damaged))
    assert walcore.repair(wal).lost_ids == (6,)
    plan = walcore.repair(folders.put(wal, wal_9=bytes(stray)))
    assert plan.lost_ids == ()
    plan.apply()
    assert {record.id for record in walcore.read(wal, mode="STRICT")} == {1, 2, 3, 4, 5, 6, 7}


def test_an_id_that_only_a_summary_tells_of_is_called_lost(tmp_path: Path) -> None:
    whole = folders.plain(1, [1001, 1002]) + oracle.summary_frame(1009, 1)
    wal = folders.put(tmp_path / "wal", wal_1001_gz=gzip.compress(whole))
    assert 1009 in walcore.repair(wal).lost_ids
