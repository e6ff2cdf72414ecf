"""What repair makes of files that are not what their name or place says."""

from __future__ import annotations

from pathlib import Path

import folders
import logs
import pytest

import walcore
from walcore import salvage
from walcore.segments import list_segments


def test_another_stores_segment_is_known_under_a_name_that_hides_what_it_is(tmp_path: Path) -> None:
    """Gzip under a plain name, of which reading sees no header: its records are not the log's."""
    foreign = folders.sealed(folders.plain(2, [6, 7], folders.OTHER_STORE), 7)
    wal = folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6=foreign)
    plan = walcore.repair(wal)
    (step,) = plan.steps
    assert (step.action, step.segment, step.detail) == ("set aside", "wal-6.v1", "it belongs to another store")
    assert (plan.lost, plan.lost_ids) == ((), ())
    assert [path.name for path in map(wal.joinpath, plan.apply()) if path.read_bytes() == foreign]
    assert folders.lsns(wal) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("next_number", "number"), [(4, 3), (3, None)], ids=["behind it", "nowhere"])
def test_a_number_that_a_segment_without_records_has_is_not_free(
    tmp_path: Path, next_number: int, number: int | None
) -> None:
    wal = folders.put(
        tmp_path / "wal",
        wal_1=folders.FIRST,
        wal_6=folders.plain(2, []),
        wal_7=folders.headless(folders.plain(9, range(7, 9))),
        wal_10=folders.plain(next_number, [10]),
    )
    plan = walcore.repair(wal)
    plan.apply()
    numbers = {segment.name.removesuffix(".gz"): segment.number for segment in list_segments(wal)}
    assert numbers.get("wal-7.v1") == number
    assert ("no number is free where its records belong" in str(plan)) == (number is None)
    assert numbers["wal-6.v1"] == 2


@pytest.mark.parametrize(
    ("line", "lost", "ids"),
    [
        (b'{"t":"M","lsn":3,"id":77,"vk":"Q","lex":"x"}\n', ((3, 3),), (77,)),
        (b'{"t":"M","lsn":"3","id":77,"vk":"I","lex":"x"}\n', ((3, 3),), ()),
        (b'{"t":"M","lsn":3,"id":4294967296,"vk":"I","lex":"x"}\n', ((3, 3),), ()),
        (b"no record at all\n", ((3, 3),), ()),
    ],
)
def test_of_a_frame_that_is_no_record_the_id_is_lost_that_it_still_shows(
    tmp_path: Path, line: bytes, lost: tuple[tuple[int, int], ...], ids: tuple[int, ...]
) -> None:
    content = folders.plain(1, [1, 2]) + logs.raw_frame(line) + folders.mint(4)
    plan = walcore.repair(folders.put(tmp_path / "wal", wal_1=content))
    assert [str(fault.kind) for fault in plan.faults] == ["invalid_record"]
    assert (plan.lost, plan.lost_ids) == (lost, ids)


def test_no_more_faults_of_a_file_are_kept_than_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = folders.plain(1, range(1, 12))
    for lsn in (2, 4, 6, 8):
        content = content.replace(b"urn:%d" % lsn, b"urn:~")
    wal = folders.put(tmp_path / "wal", wal_1=content)
    assert [str(fault.kind) for fault in walcore.repair(wal).faults] == ["corrupt_frame"] * 4
    monkeypatch.setattr(salvage, "MAX_FAULTS", 2)
    plan = walcore.repair(wal)
    assert [str(fault.kind) for fault in plan.faults] == ["corrupt_frame"] * 2
    plan.apply()
    assert folders.lsns(wal) == [1, 3, 5, 7, 9, 10, 11]
