"""What repair takes as arguments, refuses beforehand, plans and does; tests/crash/test_damage.py has the damage."""

from __future__ import annotations

import gzip
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import folders
import logs
import oracle
import pytest

import walcore
from walcore import repairing
from walcore.segments import Directory, list_segments
from walcore.state import State, write_state


def nameless(directory: Path) -> Path:
    """A log whose only header is damaged: nothing tells whose it is."""
    return folders.put(directory, wal_1=folders.headless(folders.FIRST))


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
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_1_gz=folders.sealed(folders.FIRST, 5))
    (wal / "walcore.state").mkdir()
    before = folders.tree(wal)
    with pytest.raises(OSError, match="move away what has it"):
        walcore.repair(wal)
    assert folders.tree(wal) == before


def test_an_lsn_behind_a_tear_that_goes_aside_is_not_handed_out_again(tmp_path: Path) -> None:
    torn = folders.FIRST + bytes(600) + folders.mint(1000)
    wal = folders.put(tmp_path / "wal", wal_1=torn, wal_1_gz=folders.sealed(folders.FIRST, 5))
    walcore.repair(wal).apply()
    assert len(list(walcore.read(wal, mode="STRICT"))) == 5
    with walcore.open(wal) as log:
        assert log.log_mint(6, "I", "urn:6") == 1001


def test_a_log_of_which_only_a_damaged_purge_marker_is_left_may_become_any_stores(tmp_path: Path) -> None:
    (tmp_path / "walcore.purge").write_bytes(b"{")
    plan = walcore.repair(tmp_path)
    (step,) = plan.steps
    assert (step.action, step.segment, step.number, plan.faults) == ("set aside", "walcore.purge", 0, ())
    assert plan.apply() == ("quarantine/walcore.purge.0-1.lsn0",)
    with walcore.open(tmp_path, store_uuid=folders.STORE) as log:
        assert log.log_mint(1, "I", "urn:1") == 1
    assert walcore.repair(tmp_path).steps == ()


def test_a_new_header_has_the_first_id_that_the_name_tells(tmp_path: Path) -> None:
    """Not that of the first record that can be read: RDF4J looks for ids by it."""
    content = bytearray(folders.headless(folders.FIRST))
    content[content.index(b"urn:1") + 4] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=bytes(content), wal_6=folders.plain(2, [6]))
    walcore.repair(wal).apply()
    (header,) = [segment.header for segment in list_segments(wal) if segment.number == 1]
    assert header is not None
    assert header.first_id == 1
    assert [record.lsn for record in walcore.read(wal, mode="STRICT")] == [2, 3, 4, 5, 6]


def test_of_two_damaged_files_of_a_number_the_plan_names_each_fault_of_the_one_that_counts(tmp_path: Path) -> None:
    counts, other = bytearray(folders.FIRST), bytearray(folders.plain(1, range(1, 5)))
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
        **{f"wal_{lsns.start}": folders.headless(folders.plain(9, lsns))},
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


def test_the_fault_of_a_missing_number_tells_the_lsns_around_it(tmp_path: Path) -> None:
    wal = folders.put(
        tmp_path / "wal", wal_1=folders.FIRST, wal_8=folders.plain(3, [8, 9]), wal_20=folders.plain(6, [20])
    )
    first = walcore.repair(folders.put(tmp_path / "first", wal_8=folders.plain(2, [8]))).faults
    assert [(fault.segment, fault.lsn_before, fault.lsn_after) for fault in first] == [("segment 1", None, 8)]
    missing = walcore.FaultKind.MISSING_SEGMENT
    told = "no file has this number"
    assert walcore.repair(wal).faults == (
        walcore.Fault(missing, "segment 2", 0, told, lsn_before=5, lsn_after=8),
        walcore.Fault(missing, "segments 4 to 5", 0, told, lsn_before=9, lsn_after=20),
    )


def test_a_gap_too_wide_to_be_filled_is_told_with_its_numbers(tmp_path: Path) -> None:
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6=folders.plain(10_003, [6]))
    with pytest.raises(
        walcore.WalError, match=r"segments 2 to 10002 are missing.* move wal-6\.v1, which has number 10003"
    ):
        walcore.repair(wal)
    folders.put(wal, wal_6=folders.plain(10_002, [6]))
    assert len(walcore.repair(wal).steps) == 10_000


def test_where_nothing_is_there_no_number_is_missing(tmp_path: Path) -> None:
    (tmp_path / "wal-7.v1").write_bytes(b"")
    plan = walcore.repair(tmp_path, store_uuid=folders.STORE)
    assert [str(fault.kind) for fault in plan.faults] == ["empty_segment"]
    assert not plan.damaged


def test_a_rewritten_segment_takes_the_place_of_a_plain_one_and_a_name_of_its_own_for_a_sealed_one(
    tmp_path: Path,
) -> None:
    damaged = bytearray(folders.FIRST)
    damaged[damaged.index(b"urn:3")] ^= 1
    taken = folders.plain(2, [6])
    wal = folders.put(tmp_path / "wal", wal_1=bytes(damaged), wal_6=taken)
    walcore.repair(wal).apply()
    assert {s.number: s.name.removesuffix(".gz") for s in list_segments(wal)} == {1: "wal-1.v1", 2: "wal-6.v1"}
    wal = folders.put(tmp_path / "other", wal_6_gz=folders.sealed(bytes(damaged), 5), wal_6=taken)
    walcore.repair(wal).apply()
    assert [record.lsn for record in walcore.read(wal, mode="STRICT")] == [1, 2, 4, 5, 6]


def test_what_a_repair_copies_is_held_in_pieces(tmp_path: Path) -> None:
    """Also where each frame is larger than a piece."""
    import tracemalloc

    size = 3 << 20
    frames = [folders.mint(lsn, f"urn:{lsn}:" + "x" * size) for lsn in range(1, 11)]
    damaged = folders.plain(1, []) + frames[0] + b"~" + b"".join(frames[1:])
    wal = folders.put(tmp_path / "wal", wal_1=damaged)
    plan = walcore.repair(wal)
    tracemalloc.start()
    try:
        plan.apply()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert folders.lsns(wal) == list(range(1, 11))
    assert peak < 6 * size


def test_who_stands_in_goes_on_with_the_ids_before_it(tmp_path: Path) -> None:
    wal = folders.put(tmp_path / "wal", wal_8=folders.plain(2, [8, 9]), wal_20=folders.plain(4, [20]))
    walcore.repair(wal).apply()
    first_ids = {s.number: s.header.first_id for s in list_segments(wal) if s.header}
    assert first_ids == {1: 1, 2: 8, 3: 10, 4: 20}


def test_of_damaged_files_of_a_number_that_counts_which_gets_furthest_before_its_first_fault(tmp_path: Path) -> None:
    far, long = bytearray(folders.FIRST), bytearray(folders.plain(1, range(1, 9)))
    far[far.index(b"urn:5") + 4] ^= 1
    long[long.index(b"urn:2") + 4] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=bytes(far), wal_01=bytes(long))
    plan = walcore.repair(wal)
    assert [step.segment for step in plan.steps if step.action == "set aside"] == ["wal-01.v1"]
    plan.apply()
    assert folders.lsns(wal) == list(range(1, 9))


def test_a_file_without_its_header_is_the_twin_of_the_one_with_its_name(tmp_path: Path) -> None:
    damaged = bytearray(folders.sealed(folders.FIRST, 5))
    damaged[:40] = bytes(40)
    more = folders.plain(1, range(1, 5)) + folders.mint(7)
    wal = folders.put(
        tmp_path / "wal", wal_1=folders.FIRST, wal_01=more, wal_01_gz=bytes(damaged), wal_1_gz=bytes(damaged)
    )
    aside = {step.segment: step.detail for step in walcore.repair(wal).steps if step.action == "set aside"}
    assert aside["wal-1.v1.gz"] != aside["wal-01.v1.gz"] == "wal-01.v1 is the same segment"


def test_a_frame_need_not_end_its_line(tmp_path: Path) -> None:
    """RDF4J's do; what is valid JSON in a frame that holds is read, and so it is repaired."""
    odd = [logs.raw_frame(b'{ "t":"M","lsn":%d,"id":%d,"vk":"I","lex":"urn:odd"}' % (lsn, lsn)) for lsn in (6, 7)]
    wal = folders.put(tmp_path / "wal", wal_01=folders.FIRST + odd[0], wal_1=folders.FIRST + odd[0] + odd[1])
    walcore.repair(wal).apply()
    assert folders.lsns(wal) == [1, 2, 3, 4, 5, 6, 7]
    invalid = logs.raw_frame(b'{ "t":"M","lsn":8,"id":80,"vk":"I","lex":7}')
    damaged = bytearray(folders.plain(2, [81, 9]))
    damaged[damaged.index(b"urn:81")] ^= 1
    wal = folders.put(tmp_path / "other", wal_1=folders.FIRST + odd[0] + invalid, wal_9=bytes(damaged) + odd[1])
    assert walcore.repair(wal).lost_ids == (80, 81)


def test_a_plan_names_twenty_ids_and_counts_the_rest() -> None:
    plan = walcore.RepairPlan("d", folders.STORE, (), (), ((1, 25),), tuple(range(1, 21)))
    names = ", ".join(map(str, range(1, 21)))
    assert plan.losses() == f"lost, at most: LSN 1 to 25; ids among them: {names}"
    plan = walcore.RepairPlan("d", folders.STORE, (), (), ((1, 1), (3, None)), tuple(range(1, 26)))
    assert plan.losses() == f"lost, at most: LSN 1, LSN 3 and all above it; ids among them: {names} and 5 more"
    plan = walcore.RepairPlan("d", folders.STORE, (), (), ((7, 8),), ())
    assert plan.losses() == "lost, at most: LSN 7 to 8; ids among them: none that can be named"
    assert (
        walcore.RepairPlan("d", folders.STORE, (), (), (), (3,)).losses() == "lost, at most: no LSN; ids among them: 3"
    )


def test_a_rewrite_counts_the_records_that_stay(tmp_path: Path) -> None:
    damaged = bytearray(folders.plain(1, [1, 2, 3, 5, 6, 9]))
    damaged[damaged.index(b"urn:2")] ^= 1
    wal = folders.put(tmp_path / "wal", wal_1=bytes(damaged))
    (step,) = walcore.repair(wal).steps
    assert (step.action, step.segment, step.number) == ("rewrite", "wal-1.v1", 1)
    assert step.detail.endswith("; 5 records of LSN 1 to 9 stay")


def test_a_twin_without_header_gives_what_is_missing(tmp_path: Path) -> None:
    damaged = bytearray(folders.FIRST)
    damaged[damaged.index(b"urn:3")] ^= 1
    twin = folders.headless(folders.FIRST)
    wal = folders.put(tmp_path / "wal", wal_1=bytes(damaged), wal_1_gz=folders.sealed(twin, 5))
    walcore.repair(wal).apply()
    assert sorted(folders.lsns(wal)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kept", [True, False])
def test_each_fault_of_a_file_without_header_is_named_once(tmp_path: Path, kept: bool) -> None:
    damaged = bytearray(folders.headless(folders.plain(9, range(4, 7))))
    damaged[damaged.index(b"urn:5")] ^= 1
    wal = folders.put(
        tmp_path / "wal",
        wal_1=folders.plain(1, [1, 2, 3]),
        wal_4=bytes(damaged),
        wal_7=folders.plain(3 if kept else 2, [7]),
    )
    plan = walcore.repair(wal)
    faults = Counter((fault.segment, str(fault.kind)) for fault in plan.faults if "missing" not in fault.kind)
    assert faults == {("wal-4.v1", "unreadable_segment"): 1, ("wal-4.v1", "corrupt_frame"): 1}
    assert any(step.action == "set aside" for step in plan.steps) == (not kept)


@pytest.mark.parametrize("first", [1, 4])
def test_what_lay_before_all_gets_the_number_that_the_log_begins_with(tmp_path: Path, first: int) -> None:
    """Behind a purge that isn't 1."""
    wal = folders.put(
        tmp_path / "wal", wal_6=folders.plain(first + 1, [6]), wal_5=folders.headless(folders.plain(9, range(5, 6)))
    )
    with Directory(wal) as directory:
        fields = {"last_lsn": 4, "number": 0, "header_crc": 0, "size": 0, "store": folders.STORE, "clean": False}
        write_state(directory, State(**fields, first_number=first))  # type: ignore[arg-type]
    walcore.repair(wal).apply()
    assert {segment.name.removesuffix(".gz"): segment.number for segment in list_segments(wal)} == {
        "wal-5.v1": first,
        "wal-6.v1": first + 1,
    }


def test_where_numbers_and_lsns_go_different_ways_no_number_is_free_in_between(tmp_path: Path) -> None:
    wal = folders.put(
        tmp_path / "wal",
        wal_2002=folders.plain(2, [2002, 2003]),
        wal_2007=folders.plain(1, [2007, 2008]),
        wal_2004=folders.headless(folders.plain(9, range(2004, 2007))),
    )
    plan = walcore.repair(wal)
    assert "no number is free where its records belong" in str(plan)
    assert plan.lost == ((2004, 2006),)


def test_what_is_left_after_a_repair_is_told_by_its_first_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk goes on failing."""
    damaged = bytearray(folders.FIRST)
    damaged[damaged.index(b"urn:3")] ^= 1
    plan = walcore.repair(folders.put(tmp_path / "wal", wal_1=bytes(damaged)))
    real = repairing.open_directory
    faults = [walcore.Fault(walcore.FaultKind.CORRUPT_FRAME, f"wal-{number}.v1", 7, "gone") for number in (1, 2)]
    monkeypatch.setattr(repairing, "open_directory", lambda *words: replace(real(*words), faults=tuple(faults)))
    said = r"still damaged, repair it again: corrupt_frame in wal-1\.v1 at byte 7 \(gone\)$"
    with pytest.raises(walcore.WalError, match=said):
        plan.apply()


@pytest.mark.parametrize("name", ["wal-00000000004.v1", "wal-4.v1"])
def test_a_header_made_anew_has_the_first_id_of_the_name_or_of_the_records(tmp_path: Path, name: str) -> None:
    records = [logs.record(lsn, 40 + lsn) for lsn in (6, 7)]
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST)
    (wal / name).write_bytes(folders.headless(logs.plain(records, 2)))
    walcore.repair(wal).apply()
    (header,) = [one.header for one in list_segments(wal) if one.number == 2]
    assert header is not None
    assert header.first_id == (4 if name == "wal-4.v1" else 46)
