"""Search: the newest record of an id, in whatever order the ids come."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import logs
import oracle
import pytest

import walcore
from walcore.errors import WalDamageWarning
from walcore.search import find
from walcore.segments import Directory

ROWS = [[(1, 50), (2, 7), (3, -3)], [(4, 9), (5, 7), (6, 1)], [(7, 2), (9, 8), (8, 8)]]
PARTS = [[logs.record(lsn, id, f"value {lsn}") for lsn, id in part] for part in ROWS]


@pytest.fixture(params=[False, True], ids=["plain", "sealed"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    logs.log(tmp_path, *PARTS, seal=request.param)
    return tmp_path


@pytest.mark.parametrize(("id", "lsn"), [(50, 1), (7, 5), (-3, 3), (9, 4), (1, 6), (2, 7), (8, 9)])
def test_the_newest_record_is_found(log: Path, id: int, lsn: int) -> None:
    one = find(log, id)
    assert one is not None
    assert (one.id, one.lsn, one.lexical) == (id, lsn, f"value {lsn}")


@pytest.mark.parametrize("lsns", [(1, 2), (2, 1), (1, 3, 2), (3, 1, 2)])
def test_of_several_in_one_segment_the_newest_is_found(tmp_path: Path, lsns: tuple[int, ...]) -> None:
    logs.log(tmp_path, [logs.record(lsn, 5, f"value {lsn}") for lsn in lsns])
    one = find(tmp_path, 5)
    assert one is not None
    assert one.lsn == max(lsns)


def test_what_is_not_there_is_none(log: Path) -> None:
    assert find(log, 12345) is None


def test_a_record_in_another_form_of_json_is_found(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    with (tmp_path / "wal-2.v1").open("ab") as file:
        file.write(logs.raw_frame(b'{"id":7, "lsn":10,"t":"M","vk":"I","lex":"new"}\n'))
    one = find(tmp_path, 7)
    assert one is not None
    assert one.lexical == "new"


def test_damage_that_may_hide_a_newer_one_gives_a_warning(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    (tmp_path / "wal-9.v1").unlink()
    with pytest.warns(WalDamageWarning, match="a newer record of id 7 may be missing: missing_segment"):
        one = find(tmp_path, 7)
    assert one is not None
    assert one.lsn == 2
    assert find(tmp_path, 8) is not None  # the newest segment has it: what lies before doesn't matter


def test_the_end_of_a_segment_that_went_between_two_records_gives_a_warning(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        for lsn in range(1, 4):
            wal.log_mint(5, "I", f"value {lsn}")
    (path,) = (tmp_path / "wal").glob("wal-*")
    *_, last = oracle.frames(path.read_bytes())
    path.write_bytes(path.read_bytes()[: -len(last)])
    with pytest.warns(WalDamageWarning, match="a newer record of id 5 may be missing: .* known to be on disk"):
        one = find(tmp_path / "wal", 5)
    assert one is not None
    assert one.lexical == "value 2"


def test_damage_of_the_other_file_of_a_segment_gives_a_warning(tmp_path: Path) -> None:
    content = logs.plain(PARTS[0])
    logs.write(tmp_path, "wal-50.v1", content[:-5])  # torn, which by itself is no damage
    broken = bytearray(content)
    broken[-100] ^= 1
    logs.write(tmp_path, "wal-50.v1.gz", logs.sealed(bytes(broken), 50))
    with pytest.warns(WalDamageWarning, match=r"a newer record of id 7 may be missing: .* in wal-50\.v1\.gz"):
        one = find(tmp_path, 7)
    assert one is not None
    assert one.lsn == 2


def test_a_warning_is_of_one_fault_where_there_are_several(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    (tmp_path / "wal-9.v1").unlink()
    broken = bytearray((tmp_path / "wal-2.v1").read_bytes())
    broken[len(broken) // 2] ^= 1
    (tmp_path / "wal-2.v1").write_bytes(broken)
    with pytest.warns(WalDamageWarning) as told:
        find(tmp_path, 12345)
    reader = walcore.read(tmp_path, mode="salvage")
    with pytest.warns(WalDamageWarning):
        assert list(reader)
    assert len(reader.report.faults) == 2
    whole = [f"{one.kind} in {one.segment} at byte {one.offset} ({one.detail})" for one in reader.report.faults]
    assert [one for one in whole if one in str(told[0].message)]


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find(tmp_path / "none", 1)
    with pytest.raises(TypeError):
        find(tmp_path, "1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="id must be from"):
        find(tmp_path, 2**31)


def test_the_warning_points_at_the_callers_line(tmp_path: Path) -> None:
    logs.log(tmp_path, *PARTS)
    (tmp_path / "wal-9.v1").unlink()
    with pytest.warns(WalDamageWarning) as told:
        find(tmp_path, 7)
    assert [warning.filename for warning in told] == [__file__]


def test_a_segment_that_may_not_be_read_gives_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.log(tmp_path, *PARTS)
    real = Directory.open

    def refuse(self: Directory, name: str) -> int:
        if name == "wal-2.v1":
            error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            error.call = "open"  # type: ignore[attr-defined]
            raise error
        return real(self, name)

    monkeypatch.setattr(Directory, "open", refuse)
    with pytest.warns(WalDamageWarning, match=r"unreadable_segment in wal-2\.v1 at byte 0 \(unreadable: Permission"):
        one = find(tmp_path, 7)
    assert one is not None
    assert one.lsn == 5


def test_the_warning_tells_of_the_fault_met_first(tmp_path: Path) -> None:
    """Of the newest segment, that is."""
    logs.log(tmp_path, *PARTS)
    for name, size in (("wal-9.v1", 5), ("wal-2.v1", 9)):
        path = tmp_path / name
        content = bytearray(path.read_bytes())
        content[-size] ^= 1
        path.write_bytes(content + logs.mint(logs.record(1)))
    newest = tmp_path / "wal-2.v1"
    offset = len(newest.read_bytes()) - len(logs.mint(PARTS[2][2])) - len(logs.mint(logs.record(1)))
    said = f"corrupt_frame in wal-2.v1 at byte {offset} (the checksum doesn't hold)"
    with pytest.warns(WalDamageWarning, match=re.escape(said)):
        find(tmp_path, 12345)
