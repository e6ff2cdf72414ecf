"""Opening on less than the state vouches for: what was on disk and is lost stays known, and is never called a tear."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import plain, put, sealed, tree
from openings import close_cleanly, passed, reopen

import walcore
from walcore.faults import FaultKind
from walcore.reader import read


def lose(path: Path, how: str) -> None:
    content = path.read_bytes()
    kept = {"emptied": 0, "in its header": 50, "by one byte": len(content) - 1, "at a frame": len(plain(2, [3]))}
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(content[: kept[how]])


@pytest.mark.parametrize("alone", [False, True], ids=["last", "only"])
@pytest.mark.parametrize("how", ["deleted", "emptied", "in its header", "by one byte", "at a frame"])
def test_a_loss_stays_known_until_a_purge(tmp_path: Path, how: str, alone: bool) -> None:
    number = 1 if alone else 2
    put(tmp_path, wal_3=plain(number, [3, 4]), **({} if alone else {"wal_1": plain(1, [1, 2])}))
    close_cleanly(tmp_path, 4)
    segment = tmp_path / "wal-3.v1"
    lose(segment, how)
    left = segment.read_bytes() if segment.exists() else b""
    short = how in ("by one byte", "at a frame")
    kind = FaultKind.CORRUPT_FRAME if short else FaultKind.MISSING_SEGMENT
    where = "wal-3.v1" if short else f"segment {number}"
    for session in range(4):
        with walcore.open(tmp_path) as wal:
            assert [(f.kind, f.segment) for f in wal.opening.faults] == [(kind, where)]
            assert not wal.opening.cut
            assert "wal-3.v1" not in [one.name for one in wal.opening.to_seal]
            if session == 0:
                assert wal.opening.next_number == number + 1
                assert bool(wal.opening.quarantined) == (how in ("emptied", "in its header"))
            if session > 1:
                wal.commit(wal.log_mint(session, "I", "urn:x"))
                wal.rotate()
                wal.commit(wal.log_mint(session + 10, "I", "urn:x"))
        assert not short or segment.read_bytes() == left
        report = passed(tmp_path)
        assert not report.complete
        assert [(f.kind, f.segment) for f in report.faults] == [(kind, where)]
    with walcore.open(tmp_path) as wal:
        wal.purge_all_segments()
    assert passed(tmp_path).complete
    with walcore.open(tmp_path) as wal:
        assert wal.opening.faults == ()


@pytest.mark.parametrize("missing", [False, True])
def test_an_empty_file_is_perhaps_a_lost_segment_only_where_one_is_missing(tmp_path: Path, missing: bool) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]), wal_3=plain(3, [3]))
    close_cleanly(tmp_path, 3)
    if missing:
        (tmp_path / "wal-2.v1").unlink()
    put(tmp_path, wal_9=b"")
    (moved,) = reopen(tmp_path).quarantined
    assert moved.reason == ("empty; perhaps a segment that was on disk and is missing" if missing else "empty")


def test_a_segment_that_is_back_is_lost_no_longer(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2, 3]))
    close_cleanly(tmp_path, 3)
    content = (tmp_path / "wal-2.v1").read_bytes()
    (tmp_path / "wal-2.v1").unlink()
    assert reopen(tmp_path).state.losses != ()
    put(tmp_path, wal_2=content)
    opening = reopen(tmp_path)
    assert (opening.faults, opening.state.losses) == ((), ())
    assert passed(tmp_path).complete


def test_a_vouched_part_is_not_cut_though_the_file_has_grown(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    put(tmp_path, wal_1=content)
    close_cleanly(tmp_path, 3)
    damaged = content[:-20] + bytes(20) + b"more"
    put(tmp_path, wal_1=damaged)
    opening = reopen(tmp_path)
    assert (opening.cut, tree(tmp_path)["wal-1.v1"]) == ((), damaged)
    assert [f.kind for f in opening.faults] == [FaultKind.CORRUPT_FRAME]
    assert not passed(tmp_path).complete


def test_a_header_lost_to_zeros_leaves_vouched_records_in_their_place(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=bytes(plain(2, range(2, 20))))
    close_cleanly(tmp_path, 19)
    content = (tmp_path / "wal-2.v1").read_bytes()
    put(tmp_path, wal_2=bytes(512) + content[512:])
    opening = reopen(tmp_path)
    assert opening.quarantined == ()
    assert [f.kind for f in opening.faults] == [FaultKind.UNREADABLE_SEGMENT, FaultKind.MISSING_SEGMENT]
    assert opening.faults[0].detail == "torn header; perhaps a segment that was on disk and is missing"
    assert not passed(tmp_path).complete


def test_a_plain_file_cut_short_does_not_count_against_its_sealed_twin(tmp_path: Path) -> None:
    content = plain(1, [1, 2])
    put(tmp_path, wal_1=content)
    close_cleanly(tmp_path, 2)
    put(tmp_path, wal_1=plain(1, [1]), wal_1_gz=sealed(content, 2))
    assert [record.lsn for record in read(tmp_path)] == [1, 2]
    reopen(tmp_path)
    assert [record.lsn for record in read(tmp_path)] == [1, 2]
