"""Opening on a plain file and a sealed one of the same name: which of the two counts, and what becomes of the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import folders
import pytest
from folders import mint, plain, put, sealed, tree
from openings import close_cleanly, reopen

from walcore.faults import FaultKind

if TYPE_CHECKING:
    from walcore.opening import Opening


def pair(tmp_path: Path, plain_bytes: bytes, sealed_bytes: bytes) -> tuple[Opening, list[str]]:
    put(tmp_path, wal_1=plain_bytes, wal_1_gz=sealed_bytes)
    opening = reopen(tmp_path)
    assert reopen(tmp_path).next_lsn == opening.next_lsn
    return opening, [name for name in tree(tmp_path) if name.startswith("wal-")]


def test_of_a_pair_with_the_same_bytes_the_plain_file_goes(tmp_path: Path) -> None:
    content = plain(1, range(1, 100))
    opening, names = pair(tmp_path, content, sealed(content, 99))
    assert names == ["wal-1.v1.gz"]
    (gone,) = opening.deleted
    assert (gone.segment, gone.reason, gone.copy) == ("wal-1.v1", "the same as wal-1.v1.gz", None)
    assert (gone.offset, gone.size, gone.lsn_before, gone.lsn_highest) == (0, len(content), 0, 99)
    assert opening.to_seal == ()


def test_a_pair_larger_than_what_is_compared_at_a_time_is_compared_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("walcore.takeover.COPY_BYTES", 1000)
    content = plain(1, range(1, 100))
    assert pair(tmp_path / "same", content, sealed(content, 99))[1] == ["wal-1.v1.gz"]
    other = content[:-60] + mint(99, "urn:98")[-60:]
    assert pair(tmp_path / "other", other, sealed(content, 99))[1] == ["wal-1.v1"]


def test_of_a_sound_pair_with_other_bytes_the_plain_file_counts(tmp_path: Path) -> None:
    for number, other in enumerate(([1], [1, 2, 3], [1, 5])):
        opening, names = pair(put(tmp_path / str(number)), plain(1, [1, 2]), sealed(plain(1, other), max(other)))
        assert names == ["wal-1.v1"]
        assert [q.segment for q in opening.quarantined] == ["wal-1.v1.gz"]
        assert [s.name for s in opening.to_seal] == ["wal-1.v1"]
        assert opening.next_lsn == max(2, *other) + 1


@pytest.mark.parametrize("size", [0, 5, 15, 60, -30, -9, -1])
def test_half_a_seal_goes_to_quarantine_and_the_plain_file_is_sealed_again(tmp_path: Path, size: int) -> None:
    content = plain(1, range(1, 100))
    opening, names = pair(tmp_path, content, sealed(content, 99)[:size])
    assert names == ["wal-1.v1"]
    assert [s.name for s in opening.to_seal] == ["wal-1.v1"]
    assert [q.segment for q in opening.quarantined] == ["wal-1.v1.gz"]


def test_of_a_damaged_plain_file_and_a_sound_sealed_one_the_sealed_one_counts(tmp_path: Path) -> None:
    content = plain(1, [1, 2])
    for number, broken in enumerate((content[:-5], content[:-5] + b"x" + mint(3), content[:40], b"")):
        opening, names = pair(put(tmp_path / str(number)), broken, sealed(content, 2))
        assert names == ["wal-1.v1.gz"]
        assert [q.segment for q in opening.quarantined] == ["wal-1.v1"]
        assert opening.faults == ()


def test_a_damaged_pair_stays_and_is_reported(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    broken = content[:-60] + b"~" + content[-59:]
    put(tmp_path, wal_1=broken, wal_1_gz=sealed(broken, 3))
    opening = reopen(tmp_path)
    assert [n for n in tree(tmp_path) if n.startswith("wal-")] == ["wal-1.v1", "wal-1.v1.gz"]
    assert {f.segment for f in opening.faults} == {"wal-1.v1", "wal-1.v1.gz"}
    assert opening.to_seal == ()


def test_an_empty_file_beside_a_damaged_one_goes_and_the_damaged_one_stays(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    opening, names = pair(tmp_path / "plain", content.replace(b"urn:2", b"urn:~"), b"")
    assert names == ["wal-1.v1"]
    assert [(moved.segment, moved.reason) for moved in opening.quarantined] == [("wal-1.v1.gz", "empty")]
    assert [(fault.segment, fault.kind) for fault in opening.faults] == [("wal-1.v1", FaultKind.CORRUPT_FRAME)]
    opening, names = pair(tmp_path / "sealed", b"", sealed(content, 3)[:-12])
    assert names == ["wal-1.v1.gz"]
    assert [(moved.segment, moved.reason) for moved in opening.quarantined] == [("wal-1.v1", "empty")]
    assert [(fault.segment, fault.kind) for fault in opening.faults] == [("wal-1.v1.gz", FaultKind.TRUNCATED_GZIP)]


def test_a_torn_plain_file_of_a_pair_that_was_vouched_for_is_corrupt(tmp_path: Path) -> None:
    content = plain(1, [1, 2, 3])
    put(tmp_path, wal_1=content, wal_2=plain(2, [4]))
    close_cleanly(tmp_path, 4)
    put(tmp_path, wal_1=content[:-5] + bytes(5), wal_1_gz=sealed(content, 3)[:-12])
    opening = reopen(tmp_path)
    kinds = {f.segment: f.kind for f in opening.faults}
    assert kinds == {"wal-1.v1": FaultKind.CORRUPT_FRAME, "wal-1.v1.gz": FaultKind.TRUNCATED_GZIP}
    assert opening.cut == opening.quarantined == ()


def test_the_plain_file_of_a_pair_goes_after_the_sealed_one_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = plain(1, [1])
    put(tmp_path, wal_1=content, wal_1_gz=sealed(content, 1))
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        reopen(tmp_path)
    assert calls[:5] == ["fsync", "fdatasync", "fsync", "unlink", "fsync"]


def test_the_file_of_a_pair_that_is_on_disk_is_not_copied_once_more(tmp_path: Path) -> None:
    content = plain(1, [1, 2])
    put(tmp_path, wal_1=content, wal_3=plain(2, [3]))
    close_cleanly(tmp_path, 3)
    put(tmp_path, wal_1_gz=sealed(plain(1, [1]), 1))
    inode = (tmp_path / "wal-1.v1").stat().st_ino
    (moved,) = reopen(tmp_path).quarantined
    assert moved.reason == "wal-1.v1 counts"
    assert ((tmp_path / "wal-1.v1").read_bytes(), (tmp_path / "wal-1.v1").stat().st_ino) == (content, inode)


@pytest.mark.parametrize("damaged", ["wal-1.v1", "wal-1.v1.gz"])
def test_a_file_without_its_header_is_one_of_the_pair_that_its_name_tells(tmp_path: Path, damaged: str) -> None:
    """Alone it would stay where it is, since it may have been any segment."""
    content, packed = plain(1, [1, 2]), sealed(plain(1, [1, 2]), 2)
    spoiled = bytearray(content)
    spoiled[30] ^= 1
    files = {"wal_1": content, "wal_1_gz": packed}
    files |= {"wal_1": bytes(spoiled)} if damaged == "wal-1.v1" else {"wal_1_gz": b"not gzip" * 10}
    put(tmp_path, **files)
    opening = reopen(tmp_path)
    assert [moved.segment for moved in opening.quarantined] == [damaged]
    assert "is sound" in opening.quarantined[0].reason
    assert (opening.faults, opening.next_lsn) == ((), 3)


def test_a_pair_that_is_met_first_need_not_be_the_first_of_the_log(tmp_path: Path) -> None:
    """A file without a readable header comes before all others, and its twin with it."""
    content = plain(2, [5, 6])
    put(tmp_path, wal_1=plain(1, [1, 2]), wal_5=folders.headless(content), wal_5_gz=sealed(content, 6))
    opening = reopen(tmp_path)
    assert [one.name for one in opening.to_seal] == ["wal-1.v1"]
    assert (opening.state.number, opening.next_number, opening.next_lsn) == (2, 3, 7)
