"""Reading a directory: order, modes, faults and the report."""

from __future__ import annotations

import errno
import gc
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import logs
import pytest
from readings import ALL, PARTS, met
from resources import descriptors

from walcore import system
from walcore.errors import CorruptionError, WalDamageWarning
from walcore.format import PURGE_NAME, STATE_NAME
from walcore.plan import open_listed
from walcore.reader import Reader, ReadMode, Report, read
from walcore.segments import Directory, PurgeMarker, Segment, list_segments
from walcore.state import State, write_state


@pytest.fixture(params=[False, True], ids=["plain", "sealed"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    logs.log(tmp_path, *PARTS, seal=request.param)
    return tmp_path


def test_a_sound_log_reads_in_order_and_is_complete(log: Path) -> None:
    for mode in ReadMode:
        records, faults, report = met(log, mode)
        assert (records, faults) == (ALL, [])
        assert report == Report((), 8, 1, 8, 3, finished=True, cut_short=False)
        assert report.complete


def test_each_iteration_is_a_pass_of_its_own(log: Path) -> None:
    reader = Reader(log)
    assert (reader.report.records, reader.report.complete) == (0, False)
    first, second = iter(reader), iter(reader)
    assert [next(first), next(second), next(second), next(first)] == [ALL[0], ALL[0], ALL[1], ALL[1]]
    assert list(first) == list(second) == ALL[2:]
    assert (reader.report.records, reader.report.complete) == (8, True)


def test_the_report_can_be_asked_on_the_way(log: Path) -> None:
    reader = Reader(log)
    records = iter(reader)
    next(records)
    assert (reader.report.segments, reader.report.finished, reader.report.complete) == (1, False, False)


def test_a_dropped_iterator_closes_its_descriptors(log: Path) -> None:
    before = descriptors()
    records = iter(read(log))
    next(records)
    assert descriptors() > before
    del records
    gc.collect()
    assert descriptors() == before


def test_the_directory_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        read(tmp_path / "file")
    assert met(tmp_path)[2].complete
    with pytest.raises(ValueError, match="STRICT, STOP, SEGMENT, SALVAGE"):
        read(tmp_path, mode="LENIENT")
    assert read(tmp_path, mode="stop").mode is ReadMode.STOP


def test_a_fault_tells_the_lsns_around_it(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    path = tmp_path / "wal-4.v1"
    path.write_bytes(path.read_bytes()[:-5])
    (fault,) = met(tmp_path)[2].faults
    assert (fault.segment, fault.lsn_before, fault.lsn_after) == ("wal-4.v1", 4, 6)
    (tmp_path / "wal-4.v1").unlink()
    (fault,) = met(tmp_path)[2].faults
    assert (fault.segment, fault.kind, fault.lsn_before, fault.lsn_after) == ("segment 2", "missing_segment", 3, 6)
    with pytest.raises(CorruptionError, match="missing_segment") as caught:
        list(read(tmp_path, mode="STRICT"))
    assert (caught.value.kind, caught.value.segment, caught.value.lsn) == ("missing_segment", "segment 2", 3)


def test_a_missing_first_segment_is_missing_unless_a_purge_left_it_out(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    (tmp_path / "wal-1.v1").unlink()
    (fault,) = met(tmp_path)[2].faults
    assert (fault.kind, fault.lsn_before, fault.lsn_after) == ("missing_segment", None, 4)
    last = list_segments(tmp_path)[-1]
    assert last.header is not None
    state = State(last_lsn=8, number=3, header_crc=last.header.crc, size=last.size, store=logs.STORE, clean=True)
    with Directory(tmp_path) as directory:
        write_state(directory, replace(state, first_number=2))
        assert met(tmp_path)[1] == []
        write_state(directory, state)
    assert met(tmp_path)[1] == ["missing_segment"]


def test_what_the_state_vouches_for_is_never_a_tear(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    last = list_segments(tmp_path)[-1]
    assert last.header is not None
    content = last.path.read_bytes()
    torn = content[:-2] + b"\0\0"
    last.path.write_bytes(torn)
    assert met(tmp_path)[1] == ["torn_tail"]
    with Directory(tmp_path) as directory:
        write_state(
            directory,
            State(last_lsn=8, number=3, header_crc=last.header.crc, size=last.size, store=logs.STORE, clean=True),
        )
    assert met(tmp_path)[1:2] == (["corrupt_frame"],)
    # Cut between two frames: only the state can tell that there was more.
    last.path.write_bytes(content[: -len(logs.mint(ALL[-1]))])
    records, faults, report = met(tmp_path)
    assert (records, faults, report.faults[0].offset) == (ALL[:-1], ["corrupt_frame"], last.path.stat().st_size)
    last.path.unlink()
    assert met(tmp_path)[1] == ["missing_segment"]


def test_of_a_pair_the_sound_one_is_read(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    sealed = logs.sealed(logs.plain(PARTS[1], 2), 5)
    plain = (tmp_path / "wal-4.v1").read_bytes()
    for left, right in ((plain, sealed), (plain, sealed[:-9]), (plain[:-9], sealed)):
        logs.write(tmp_path, "wal-4.v1", left)
        logs.write(tmp_path, "wal-4.v1.gz", right)
        records, faults, report = met(tmp_path)
        assert (records, faults, report.complete) == (ALL, ["duplicate_segment"], True)
    logs.write(tmp_path, "wal-4.v1.gz", sealed[:-9])  # neither is sound, this one gets further
    records, faults, report = met(tmp_path)
    assert records == ALL
    assert faults == ["duplicate_segment", "torn_tail", "truncated_gzip"]
    assert not report.complete


def test_what_a_purge_marker_lists_is_passed_over(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    headed = frozenset((s.name, s.number, s.header.crc) for s in list_segments(tmp_path)[:2] if s.header)
    with Directory(tmp_path) as directory:
        directory.write_marker(PurgeMarker(9, logs.STORE, headed, frozenset()))
    assert met(tmp_path)[0] == PARTS[2]
    (tmp_path / PURGE_NAME).write_bytes(b"torn")
    assert met(tmp_path)[0] == ALL


def test_a_torn_state_file_says_nothing(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    (tmp_path / STATE_NAME).write_bytes(b'{"number":99')
    assert met(tmp_path)[1] == []


def test_a_segment_of_another_store_is_reported_and_not_read(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    logs.write(tmp_path, "wal-99.v1", logs.plain([logs.record(99)], 4, store="other"))
    # Nothing but the headers tells: the newest one's log it is.
    assert met(tmp_path)[0] == [logs.record(99)]
    with Directory(tmp_path) as directory:
        write_state(directory, State(last_lsn=8, number=0, header_crc=0, size=0, store=logs.STORE, clean=False))
    records, faults, report = met(tmp_path)
    assert (records, faults, report.complete) == (ALL, ["foreign_store"], False)
    assert "'other'" in report.faults[0].detail
    (tmp_path / STATE_NAME).unlink()
    with Directory(tmp_path) as directory:
        directory.write_marker(PurgeMarker(9, logs.STORE, frozenset(), frozenset()))
    assert met(tmp_path)[:2] == (ALL, ["foreign_store"])


@pytest.mark.parametrize("odd", [lambda p: p.mkdir(), lambda p: p.symlink_to("/etc/hostname"), os.mkfifo])
def test_a_state_that_is_no_file_says_nothing_to_a_reader(log: Path, odd: Callable[[Path], None]) -> None:
    odd(log / STATE_NAME)
    assert met(log)[:2] == (ALL, [])


def test_a_state_that_may_not_be_read_says_nothing_to_a_reader(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_directory: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("walcore.state.read_state", refuse)
    assert met(log)[:2] == (ALL, [])


def test_what_is_no_file_is_reported_and_never_waited_for(tmp_path: Path) -> None:
    logs.log(tmp_path / "log", *PARTS)
    (tmp_path / "log" / "wal-20.v1").symlink_to(tmp_path / "log" / "wal-1.v1")
    os.mkfifo(tmp_path / "log" / "wal-21.v1")
    (tmp_path / "log" / "wal-22.v1").mkdir()
    logs.write(tmp_path / "log", "wal-23.v1", b"")
    logs.write(tmp_path / "log", "wal-24.v1", b"no header at all, and long enough for one")
    for mode in (ReadMode.SEGMENT, ReadMode.SALVAGE):
        records, faults, _ = met(tmp_path / "log", mode)
        assert records == ALL
        assert sorted(faults) == ["empty_segment", *["unreadable_segment"] * 4]


def test_salvage_reads_a_segment_without_header_where_its_lsns_place_it(log: Path) -> None:
    for victim in range(3):
        path = sorted(log.iterdir())[victim]
        content = path.read_bytes()
        broken = logs.plain(PARTS[victim], victim + 1).replace(b'"t":"V"', b'"t":"W"')
        path.write_bytes(logs.sealed(broken, PARTS[victim][-1].id) if path.suffix == ".gz" else broken)
        records, faults, _ = met(log, ReadMode.SALVAGE)
        assert records == ALL
        assert "unreadable_segment" in faults
        assert met(log)[0] == [one for one in ALL if one not in PARTS[victim]]
        path.write_bytes(content)


def test_a_read_error_is_raised_and_never_the_end(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.preadv, []

    def fail(fd: int, buffers: list[memoryview], offset: int) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, buffers, offset)

    monkeypatch.setattr(system.calls, "preadv", fail)
    reader = read(log)
    with pytest.raises(OSError, match="Input/output error"):
        list(reader)
    assert not reader.report.complete


def test_memory_stays_flat(tmp_path: Path) -> None:
    import tracemalloc

    row = logs.mint(logs.record(1, lexical="x" * 1000))
    logs.write(tmp_path, "wal-1.v1", logs.plain([]) + row * 20_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(tmp_path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_the_warning_counts_the_faults_that_are_left_out_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("walcore.reader.MAX_FAULTS", 1)
    logs.log(tmp_path, *[[logs.record(lsn)] for lsn in range(1, 11)])
    for lsn in (2, 4, 6, 8):
        next(tmp_path.glob(f"wal-{lsn}.v1*")).unlink()
    reader = Reader(tmp_path, mode=ReadMode.SEGMENT)
    with pytest.warns(WalDamageWarning, match="not complete: 4 faults by which"):
        list(reader)
    assert (len(reader.report.faults), reader.report.faults_left_out) == (1, 3)


def test_of_the_faults_that_are_left_out_only_those_count_by_which_records_can_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.log(tmp_path, *[[logs.record(lsn)] for lsn in range(1, 5)])
    (tmp_path / "wal-2.v1").unlink()
    for name in ("wal-7.v1", "wal-8.v1", "wal-9.v1"):
        (tmp_path / name).touch()
    for limit, left_out in ((0, 1), (1, 1), (3, 1), (4, 0)):
        monkeypatch.setattr("walcore.reader.MAX_FAULTS", limit)
        _, faults, report = met(tmp_path)
        assert faults == ["empty_segment", "empty_segment", "empty_segment", "missing_segment"][:limit]
        assert (report.faults_left_out, report.complete) == (left_out, False)
    monkeypatch.setattr("walcore.reader.MAX_FAULTS", 1)
    told = r"is not complete: 1 fault by which records can be missing; see the reader's report$"
    with pytest.warns(WalDamageWarning, match=told):
        assert list(Reader(tmp_path)) == [logs.record(lsn) for lsn in (1, 3, 4)]
    logs.log(tmp_path / "sound", [logs.record(1)])
    (tmp_path / "sound" / "wal-7.v1").touch()
    monkeypatch.setattr("walcore.reader.MAX_FAULTS", 0)
    report = met(tmp_path / "sound")[2]
    assert (report.faults, report.faults_left_out, report.complete) == ((), 0, True)


def test_a_fault_of_a_file_without_a_header_is_at_its_beginning(tmp_path: Path) -> None:
    logs.log(tmp_path, [logs.record(1)])
    (tmp_path / "wal-8.v1").write_bytes(b"")
    (tmp_path / "wal-9.v1").write_bytes(b"\0" * 50)
    reader = Reader(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WalDamageWarning)
        assert list(reader) == [logs.record(1)]
    assert [(fault.segment, fault.offset) for fault in reader.report.faults] == [("wal-8.v1", 0), ("wal-9.v1", 0)]


def test_counting_makes_the_same_report_and_no_records(tmp_path: Path) -> None:
    kinds = "IBLN" * 1000 + "L"
    records = [logs.Record(lsn, lsn, kind, "x") for lsn, kind in enumerate(kinds, 1)]
    logs.log(tmp_path, records[:3000], records[3000:], seal=True)
    reader = read(tmp_path)
    steps = list(reader.counts())
    assert steps[-1] == {"I": 1000, "B": 1000, "L": 1001, "N": 1000}
    assert len(steps) > 1
    assert sum(steps[0].values()) < sum(steps[-1].values())
    report = reader.report
    assert list(reader) == records
    assert reader.report == report
    assert list(read(logs.write(tmp_path / "empty", "other", b"").parent).counts()) == []


@pytest.mark.parametrize(
    ("mode", "headless", "count"),
    [
        # Without a header a segment ends STRICT and STOP before anything is read.
        (ReadMode.STRICT, False, 2999),
        (ReadMode.STOP, False, 2999),
        (ReadMode.SEGMENT, False, 3019),
        (ReadMode.SEGMENT, True, 3019),
        (ReadMode.SALVAGE, False, 3029),
        (ReadMode.SALVAGE, True, 3039),
    ],
)
def test_counts_are_those_of_the_records_that_are_read_whatever_the_damage(
    tmp_path: Path, mode: ReadMode, headless: bool, count: int
) -> None:
    records = [logs.Record(lsn, lsn, "IBLN"[lsn % 4], "x") for lsn in range(1, 3041)]
    damaged = bytearray(logs.mint(records[2999]))
    damaged[30] ^= 1
    # Damage in a sealed segment can have the frames of the 32 KiB before come again.
    again = b"".join(map(logs.mint, records[2999 - 512 : 2999]))
    behind = b"".join(map(logs.mint, records[3000:3010]))
    content = logs.plain(records[:2999]) + bytes(damaged) + again + behind
    logs.write(tmp_path, "wal-1.v1.gz", logs.sealed(content, 3010))
    if headless:
        logs.write(tmp_path, "wal-3011.v1", bytes(8) + logs.plain(records[3010:3020], 2)[8:])
    logs.write(tmp_path, "wal-3021.v1", logs.plain(records[3020:], 3))
    outcomes = []
    for counting in (False, True):
        reader = read(tmp_path, mode=mode)
        kinds: dict[str, int] = {}
        said = ""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                if counting:
                    for counts in reader.counts():
                        kinds = {kind: number for kind, number in counts.items() if number}
                else:
                    for one in reader:
                        kinds[one.kind] = kinds.get(one.kind, 0) + 1
            except CorruptionError as error:
                said = str(error)
        outcomes.append((kinds, reader.report, said, [str(warning.message) for warning in told]))
    assert outcomes[1] == outcomes[0]
    assert sum(outcomes[1][0].values()) == outcomes[1][1].records == count


def test_a_reader_shows_what_it_reads_and_how(tmp_path: Path) -> None:
    assert repr(read(tmp_path, mode="salvage")) == f"Reader({str(tmp_path)!r}, mode='SALVAGE')"
    with pytest.raises(TypeError, match="not int"):
        read(tmp_path, mode=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (PermissionError(errno.EACCES, "no"), False),
        (OSError(errno.ENOENT, "gone"), False),
        (OSError(errno.EIO, "ill"), True),
    ],
)
def test_a_file_without_header_that_cannot_be_read_is_a_fault_unless_the_disk_is_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, raised: bool
) -> None:
    logs.log(tmp_path, [logs.record(1)])
    logs.write(tmp_path, "wal-9.v1", b"no header at all, and long enough for one")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("walcore.reader.check_segment", fail)
    if raised:
        with pytest.raises(OSError, match="ill"):
            met(tmp_path, ReadMode.SALVAGE)
    else:
        records, faults, _ = met(tmp_path, ReadMode.SALVAGE)
        assert (records, faults) == ([logs.record(1)], ["unreadable_segment"])


def test_a_segment_without_header_that_is_read_counts(tmp_path: Path) -> None:
    logs.log(tmp_path, [logs.record(1)], [logs.record(3)])
    logs.write(tmp_path, "wal-9.v1", bytes(8) + logs.plain([logs.record(2)], 9)[8:])
    for mode, count in ((ReadMode.SEGMENT, 2), (ReadMode.SALVAGE, 3)):
        records, _, report = met(tmp_path, mode)
        assert (len(records), report.records, report.segments) == (count, count, count)


def test_a_segment_without_header_that_went_before_its_turn_ends_no_pass(log: Path) -> None:
    path = logs.write(log, "wal-0999.v1", bytes(8) + logs.plain([logs.record(99)], 9)[8:])
    reader = Reader(log, ReadMode.SALVAGE)
    records = iter(reader)
    read_so_far = [next(records)]
    path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [*read_so_far, *records] == ALL
    assert reader.report.segments == len(PARTS)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.EIO, errno.EMFILE])
def test_a_listed_segment_that_cannot_be_opened_is_named_with_the_reason(
    log: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = Directory.open

    def fail(self: Directory, name: str) -> int:
        if name.startswith("wal-4."):
            raise OSError(number, os.strerror(number), name)
        return real(self, name)

    def opening(directory: Directory, segment: Segment) -> object:  # when it is read: listing it went well
        with monkeypatch.context() as patch:
            patch.setattr(Directory, "open", fail)
            return open_listed(directory, segment)

    monkeypatch.setattr("walcore.reader.open_listed", opening)
    if number in (errno.EIO, errno.EMFILE):
        with pytest.raises(OSError, match=os.strerror(number)):
            met(log)
        return
    records, faults, report = met(log)
    assert records == [one for one in ALL if one not in PARTS[1]]
    assert faults == ["unreadable_segment"]
    assert ("Permission denied" if number == errno.EACCES else "not a regular file") in report.faults[0].detail
