"""Reading a directory in which others come, go and are at work meanwhile."""

from __future__ import annotations

from pathlib import Path

import logs
import pytest
from readings import ALL, PARTS, met

from walcore.errors import CorruptionError, WalDamageWarning
from walcore.lock import DirectoryLock
from walcore.reader import Reader, ReadMode, read
from walcore.segments import Directory


def test_an_unfinished_frame_is_the_end_while_a_writer_holds_the_lock(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    with (tmp_path / "wal-6.v1").open("ab") as file:
        file.write(logs.mint(logs.record(9))[:-3])
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    try:
        assert met(tmp_path, ReadMode.STRICT)[:2] == (ALL, [])
        # Damage with whole frames behind it is no unfinished frame.
        with (tmp_path / "wal-6.v1").open("ab") as file:
            file.write(logs.mint(logs.record(10)))
        assert met(tmp_path)[1] == ["corrupt_frame"]
    finally:
        lock.release()
    (tmp_path / "wal-6.v1").write_bytes(logs.plain(PARTS[2], 3) + b"\x50\x00")
    assert met(tmp_path)[1] == ["torn_tail"]


def test_reading_ends_at_the_size_that_was_listed(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    records = iter(read(tmp_path, mode="STRICT"))
    got = [next(records)]
    with (tmp_path / "wal-6.v1").open("ab") as file:
        file.write(logs.mint(logs.record(9)))
    logs.write(tmp_path, "wal-10.v1", logs.plain([logs.record(10)], 4))
    assert got + list(records) == ALL


def test_a_segment_sealed_meanwhile_is_read_under_its_new_name(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    records = iter(read(tmp_path, mode="STRICT"))
    got = [next(records)]
    logs.write(tmp_path, "wal-4.v1.gz", logs.sealed(logs.plain(PARTS[1], 2), 5))
    (tmp_path / "wal-4.v1").unlink()
    # As opening does it: the same bytes in a new file under the old name.
    logs.write(tmp_path, "copy", (tmp_path / "wal-6.v1").read_bytes()).replace(tmp_path / "wal-6.v1")
    assert got + list(records) == ALL


def test_a_segment_purged_meanwhile_is_reported(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    reader = read(tmp_path)
    records = iter(reader)
    got = [next(records)]
    for name in ("wal-4.v1", "wal-6.v1"):
        (tmp_path / name).unlink()
    logs.write(tmp_path, "wal-4.v1", logs.plain([logs.record(9)], 1))
    with pytest.warns(WalDamageWarning, match="missing_segment in wal-4.v1"):
        got += records
    assert got == PARTS[0]
    assert [str(fault.kind) for fault in reader.report.faults] == ["missing_segment"] * 2


def test_a_segment_sealed_while_it_is_listed_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.log(tmp_path, *PARTS)
    real, sealed = Directory.segment, logs.sealed(logs.plain(PARTS[2], 3), 8)

    def segment(self: Directory, name: str, **how: bool) -> object:
        if name == "wal-6.v1" and (tmp_path / name).exists():  # the last one: no gap would tell
            logs.write(tmp_path, "wal-6.v1.gz", sealed)
            (tmp_path / name).unlink()
        return real(self, name, **how)

    monkeypatch.setattr(Directory, "segment", segment)
    assert met(tmp_path)[:2] == (ALL, [])


@pytest.mark.parametrize("mode", list(ReadMode))
def test_both_files_of_a_segment_being_sealed_are_no_reason_to_stop(tmp_path: Path, mode: ReadMode) -> None:
    records = logs.log(tmp_path, [logs.record(1), logs.record(2)], [logs.record(3)])
    logs.write(tmp_path, "wal-1.v1.gz", logs.sealed((tmp_path / "wal-1.v1").read_bytes(), 2))
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    try:
        assert list(read(tmp_path, mode=mode)) == records
    finally:
        lock.release()
    if mode is ReadMode.STRICT:
        with pytest.raises(CorruptionError, match="duplicate_segment"):
            list(read(tmp_path, mode=mode))


def test_a_quiet_folder_is_not_listed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.log(tmp_path, [logs.record(1)])
    looked, names = [], Directory.names
    monkeypatch.setattr(Directory, "names", lambda self, *some: looked.append(0) or names(self, *some))
    assert list(Reader(tmp_path)) == [logs.record(1)]
    assert len(looked) <= 4


def test_a_segment_that_appears_while_a_gap_is_looked_at_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.log(tmp_path, *PARTS)
    (tmp_path / "wal-4.v1").rename(tmp_path / "aside")
    real, listings = Directory.names, []

    def names(self: Directory, *some: object) -> object:
        listings.append(0)
        if len(listings) == 3 and (tmp_path / "aside").exists():  # a whole listing looks twice
            (tmp_path / "aside").rename(tmp_path / "wal-4.v1")
        return real(self, *some)

    monkeypatch.setattr(Directory, "names", names)
    assert met(tmp_path)[:2] == (ALL, [])
