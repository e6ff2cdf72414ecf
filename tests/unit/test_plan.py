"""Which files of a directory count while others come and go: what a listing says is held against what is there now."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import folders
import logs
import openings
import pytest

import walcore
from walcore import plan
from walcore.faults import FaultKind
from walcore.plan import choose, open_listed
from walcore.reader import Reader, ReadMode
from walcore.segments import Directory, Segment
from walcore.state import Loss, State, write_state

FIRST = folders.plain(1, [1, 2, 3])


@pytest.mark.parametrize("gone", ["wal-1.v1", "wal-1.v1.gz", "both"])
def test_of_two_files_the_one_that_is_still_there_counts(tmp_path: Path, gone: str) -> None:
    """A plain file goes once it is sealed, between the listing and the look at it."""
    folders.put(tmp_path, wal_1=FIRST, wal_1_gz=folders.sealed(FIRST, 3))
    with Directory(tmp_path) as directory:
        found = plan.plan(directory)
        files = found.numbered[1]
        assert [segment.name for segment in files] == ["wal-1.v1", "wal-1.v1.gz"]
        for name in ("wal-1.v1", "wal-1.v1.gz"):
            if gone in (name, "both"):
                (tmp_path / name).unlink()
        chosen, faults = choose(directory, files, found)
    if gone == "wal-1.v1":
        assert (chosen.name, faults) == ("wal-1.v1.gz", [])
    elif gone == "both":
        assert (chosen.name, faults) == ("wal-1.v1", [])
    else:
        assert chosen.name == "wal-1.v1"


def test_of_several_damaged_files_the_one_that_gets_furthest_counts(tmp_path: Path) -> None:
    content = bytearray(FIRST)
    content[content.index(b"urn:2")] ^= 1
    near, far = bytes(content), FIRST[:-3] + b"~~~"
    folders.put(tmp_path, wal_1=near, wal_01=far, wal_001=near)
    with Directory(tmp_path) as directory:
        found = plan.plan(directory)
        chosen, faults = choose(directory, found.numbered[1], found)
    assert chosen.name == "wal-01.v1"
    told = [(fault.kind, fault.segment) for fault in faults]
    assert told == [
        (FaultKind.DUPLICATE_SEGMENT, "wal-001.v1"),
        (FaultKind.DUPLICATE_SEGMENT, "wal-1.v1"),
        (FaultKind.CORRUPT_FRAME, "wal-001.v1"),
        (FaultKind.CORRUPT_FRAME, "wal-1.v1"),
    ]
    assert {fault.detail for fault in faults[:2]} == {"wal-01.v1 has the same number and counts"}
    assert [fault.offset for fault in faults[:2]] == [0, 0]


@pytest.mark.parametrize("steps", [1, 3])
def test_what_a_segment_got_before_the_next_began_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """A writer goes on after the last segment was looked at, and begins others before the names are listed again."""
    folders.put(tmp_path, wal_1=FIRST)
    look = Directory.segment

    def segment(self: Directory, name: str, *, forbidden: bool = False) -> Segment | None:
        found = look(self, name, forbidden=forbidden)
        number = len(list(tmp_path.iterdir()))
        if number <= steps and name == f"wal-{number}.v1":
            with (tmp_path / name).open("ab") as file:
                file.write(folders.mint(10 * number + 4))
            lsns = [10 * number + 11, 10 * number + 12, 10 * number + 13]
            folders.put(tmp_path, **{f"wal_{number + 1}": folders.plain(number + 1, lsns)})
        return found

    monkeypatch.setattr(Directory, "segment", segment)
    expected = [1, 2, 3, 14]
    for number in range(2, steps + 2):
        expected += [10 * number + 1, 10 * number + 2, 10 * number + 3] + [10 * number + 4] * (number <= steps)
    assert folders.lsns(tmp_path) == expected


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_has_the_name_now_is_the_open_file_only_if_it_is_that_very_file(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    """Whichever of the two inode numbers is the greater."""
    folders.put(tmp_path, wal_1=FIRST)
    (tmp_path / "other").write_bytes(FIRST)
    paths = [tmp_path / "wal-1.v1", tmp_path / "other"]
    with Directory(tmp_path) as directory:
        segment = directory.segment("wal-1.v1")
        assert segment is not None
        opened = [os.open(path, os.O_RDONLY) for path in paths]
        try:
            mine, others = (opened[index] for index in (0, 1))
            if order == (1, 0):
                paths[1].replace(paths[0])
                mine, others = others, mine
            now = plan._now(directory, segment, mine)
            assert now is not None
            assert now.inode == os.fstat(mine).st_ino
            assert plan._now(directory, segment, others) is None
        finally:
            for fd in opened:
                os.close(fd)


@pytest.mark.parametrize("replaced", ["by a copy", "by another segment", "by nothing"])
def test_a_listed_segment_that_was_replaced_is_read_as_it_is_now(tmp_path: Path, replaced: str) -> None:
    folders.put(tmp_path, wal_1=FIRST)
    with Directory(tmp_path) as directory:
        (segment,) = directory.segments()
        if replaced == "by nothing":
            (tmp_path / "wal-1.v1").unlink()
        else:
            content = FIRST + folders.mint(4) if replaced == "by a copy" else folders.plain(2, [1, 2, 3])
            (tmp_path / "new").write_bytes(content)
            (tmp_path / "new").replace(tmp_path / "wal-1.v1")
        opened = open_listed(directory, segment)
        if replaced == "by a copy":
            assert isinstance(opened, tuple)
            os.close(opened[0])
            assert (opened[1].size, opened[1].inode) == (len(content), (tmp_path / "wal-1.v1").stat().st_ino)
        else:
            assert opened == plan.Fault(
                FaultKind.MISSING_SEGMENT, "wal-1.v1", 0, "it went while the log was being read"
            )


@pytest.mark.parametrize("last", [False, True])
def test_a_segment_cut_between_two_frames_is_the_end_in_mode_stop_with_more_behind_or_not(
    tmp_path: Path, last: bool
) -> None:
    folders.put(tmp_path, wal_1=FIRST)
    openings.close_cleanly(tmp_path, 3)
    folders.put(tmp_path, wal_1=folders.plain(1, [1, 2]), **({} if last else {"wal_4": folders.plain(2, [4])}))
    reader = Reader(tmp_path, ReadMode.STOP)
    assert [record.lsn for record in reader] == [1, 2]
    assert reader.report.cut_short == (not last)
    assert [str(fault.kind) for fault in reader.report.faults] == ["corrupt_frame"]


def test_what_the_state_speaks_of_and_the_listing_missed_is_looked_for_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment sealed while the folder was listed: its plain name was gone by then, its sealed one not there yet."""
    with walcore.open(tmp_path / "wal") as wal:
        for id in (1, 2):
            wal.log_mint(id, "I", "urn:x")
            wal.rotate()
    real, listings = plan.list_all, []

    def listed(*words: Any) -> list[Segment]:
        listings.append(real(*words))
        return listings[-1][:-1] if len(listings) == 1 else listings[-1]

    monkeypatch.setattr(plan, "list_all", listed)
    reader = walcore.read(tmp_path / "wal")
    assert [one.id for one in reader] == [1, 2]
    assert (reader.report.faults, len(listings)) == ((), 2)
    assert [one.id for one in reader] == [1, 2]
    assert len(listings) == 3  # nothing was missed


def test_the_warning_of_a_pass_points_at_the_callers_line(tmp_path: Path) -> None:
    logs.log(tmp_path, [logs.record(1)], [logs.record(2)], [logs.record(3)])
    (tmp_path / "wal-2.v1").unlink()
    for use in (list, lambda reader: list(reader.batches()), lambda reader: list(reader.counts())):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            use(Reader(tmp_path))
        assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize("gone", ["wal-5.v1", "wal-9.v1"])
def test_a_file_without_header_is_known_by_its_name_alone(tmp_path: Path, gone: str) -> None:
    folders.put(tmp_path, wal_5=b"x" * 50, wal_9=b"x" * 50)
    with Directory(tmp_path) as directory:
        (segment,) = (one for one in directory.segments() if one.name == gone)
        opened = open_listed(directory, segment)
        assert isinstance(opened, tuple)
        os.close(opened[0])
        (tmp_path / gone).unlink()
        opened = open_listed(directory, segment)
    assert isinstance(opened, plan.Fault)
    assert (opened.kind, opened.segment) == (FaultKind.MISSING_SEGMENT, gone)


def test_a_segment_that_is_listed_and_never_there_is_not_looked_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.put(tmp_path, wal_1=FIRST)
    opened: list[str] = []

    def gone(_: Directory, name: str) -> int:
        opened.append(name)
        raise FileNotFoundError(name)

    with Directory(tmp_path) as directory:
        (segment,) = directory.segments()
        monkeypatch.setattr(Directory, "open", gone)
        monkeypatch.setattr(plan, "list_all", lambda _: [segment])
        fault = open_listed(directory, segment)
    assert isinstance(fault, plan.Fault)
    assert (fault.kind, fault.segment, fault.offset) == (FaultKind.UNREADABLE_SEGMENT, "wal-1.v1", 0)
    assert opened == ["wal-1.v1"] * 5


def test_a_folder_that_is_never_quiet_is_not_listed_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.put(tmp_path, wal_1=FIRST)
    names, listed = Directory.names, []

    def busy(self: Directory, *words: object) -> object:
        listed.append(len(listed) + 2)
        folders.put(tmp_path, **{f"wal_{listed[-1]}": folders.plain(listed[-1], [10 * listed[-1]])})
        return names(self, *words)

    monkeypatch.setattr(Directory, "names", busy)
    with Directory(tmp_path) as directory:
        found = [segment.number for segment in plan.list_all(directory)]
    assert len(listed) == 51
    assert found == list(range(1, 52))  # and the last name came too late


SECOND = folders.plain(2, [4, 5])
SECOND_CRC = int.from_bytes(folders.plain(2, [4])[: -len(folders.mint(4))][-4:], "little")


@pytest.mark.parametrize(
    ("files", "lost"),
    [
        ({"wal_4": SECOND}, None),
        ({"wal_4": SECOND + folders.mint(6)}, None),
        ({"wal_4": SECOND[:-1]}, True),
        ({}, False),
        ({"wal_4_gz": folders.sealed(SECOND, 5)}, None),
        ({"wal_4": SECOND[:-1], "wal_4_gz": folders.sealed(SECOND, 5)}, None),
        ({"wal_4": SECOND[:-1], "wal_04": SECOND}, None),
        ({"wal_9": folders.plain(2, [9])}, None),  # what RDF4J leaves that purged and began anew
        ({"wal_9": folders.plain(3, [9])}, False),
        ({"wal_4": b""}, False),
    ],
)
def test_what_the_state_knows_of_is_lost_if_it_is_not_there_or_shorter(
    tmp_path: Path, files: dict[str, bytes], lost: bool | None
) -> None:
    folders.put(tmp_path, wal_1=FIRST, **files)
    known = Loss(2, SECOND_CRC, len(SECOND), False)
    state = State(last_lsn=5, number=2, header_crc=SECOND_CRC, size=len(SECOND), store=folders.STORE, clean=True)
    expected = () if lost is None else (replace(known, short=lost),)
    with Directory(tmp_path) as directory:
        segments = directory.segments()
        assert plan.find_losses(state, segments) == expected
        # One that was lost before stays so, until it is there again, even if another has its number.
        before = replace(state, number=0, header_crc=0, size=0, losses=(known,))
        again = plan.find_losses(before, segments)
        assert again == (expected or ((known,) if "wal_9" in files else ()))
        assert plan.find_losses(replace(state, losses=(known,)), segments) == again
        write_state(directory, state)
        found = plan.plan(directory)
    assert (found.first, found.last) == (1, max(2, *found.numbered))
    # A file that has grown since is read anew behind what was on disk.
    fits = any("_4" in name and 0 < len(data) <= len(SECOND) for name, data in files.items())
    assert found.vouched == (2 if fits or "wal_04" in files else 0)
    assert found.sizes == {(2, SECOND_CRC): len(SECOND)}


def test_that_another_segment_has_the_number_of_one_that_was_lost_is_told_by_all(tmp_path: Path) -> None:
    """The number is there, so nothing shows as a gap."""
    folders.put(tmp_path, wal_1=FIRST, wal_9=folders.plain(2, [9]))
    known = (Loss(1, SECOND_CRC, len(FIRST), False), Loss(2, SECOND_CRC, len(SECOND), False))
    now = openings.close_cleanly(tmp_path, 9)
    for losses, told in ((known[1:], ["segment 2"]), (known, ["segment 1", "segment 2"]), ((), [])):
        with Directory(tmp_path) as directory:
            write_state(directory, replace(now, losses=losses))
            found = plan.plan(directory).faults
        expected = [
            (FaultKind.MISSING_SEGMENT, name, "another segment has the number of one that was on disk") for name in told
        ]
        for faults in (found, walcore.repair(tmp_path).faults, openings.reopen(tmp_path).faults):
            assert [(fault.kind, fault.segment, fault.detail) for fault in faults] == expected


def test_as_much_as_was_on_disk_is_known_of_a_plain_segment(tmp_path: Path) -> None:
    folders.put(tmp_path, wal_1=FIRST, wal_4=SECOND, wal_6=folders.plain(3, [6]), wal_7_gz=b"", wal_8=b"")
    openings.close_cleanly(tmp_path, 6)
    folders.put(tmp_path, wal_6=folders.plain(3, [6, 7]), wal_9=folders.plain(4, [9]))
    with Directory(tmp_path) as directory:
        found = plan.plan(directory)
        known = {segment.name: found.known(segment) for segment in directory.segments()}
    assert known == {"wal-1.v1": 0, "wal-4.v1": 0, "wal-6.v1": len(folders.plain(3, [6])), "wal-7.v1.gz": 0} | {
        "wal-8.v1": 0,
        "wal-9.v1": 0,
    }


@pytest.mark.parametrize("number", [1, 2, 3])
def test_in_no_segment_up_to_the_one_vouched_for_is_a_fault_a_tear(tmp_path: Path, number: int) -> None:
    contents = {1: FIRST, 2: SECOND, 3: folders.plain(3, [6, 7])}
    names = {1: "wal_1", 2: "wal_4", 3: "wal_6"}
    folders.put(tmp_path, **{names[one]: content for one, content in contents.items() if one < 3})
    openings.close_cleanly(tmp_path, 5, clean=False)
    folders.put(tmp_path, wal_6=contents[3])
    folders.put(tmp_path, **{names[number]: contents[number][:-3]})
    kind = "torn_tail" if number == 3 else "corrupt_frame"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = Reader(tmp_path)
        list(reader)
    assert [str(fault.kind) for fault in reader.report.faults] == [kind]
    assert [str(fault.kind) for fault in walcore.repair(tmp_path).faults] == [kind]
    opening = openings.reopen(tmp_path)
    # Opening doesn't read again what was vouched for, but for how long the last of them is.
    assert [str(fault.kind) for fault in opening.faults] == [kind] * (number == 2)
    assert bool(opening.cut) == (number == 3)


def test_a_header_cut_off_is_a_tear_whatever_the_state_vouches_for(tmp_path: Path) -> None:
    folders.put(tmp_path, wal_1=FIRST, wal_4=SECOND)
    openings.close_cleanly(tmp_path, 5)
    folders.put(tmp_path, wal_6=folders.plain(3, [])[:40])
    (moved,) = openings.reopen(tmp_path).quarantined
    assert (moved.segment, moved.reason) == ("wal-6.v1", "its header is torn")
