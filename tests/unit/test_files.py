"""Calls on files: what is written whole, copied with its holes, named in errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from walcore import files, system
from walcore.format import LOCK_NAME, STATE_NAME


def test_short_writes_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = system.calls.write
    monkeypatch.setattr(system.calls, "write", lambda fd, data: write(fd, data[:3]))
    with (tmp_path / "x").open("wb") as file:
        files.write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def copied(source: Path, start: int, end: int) -> Path:
    target = source.with_name("copy")
    with source.open("rb") as one, target.open("ab") as other:
        files.copy_range(one.fileno(), other.fileno(), start, end)
    return target


@pytest.mark.parametrize(("start", "end"), [(0, 10), (0, 0), (3, 3), (3, 7), (9, 10), (10, 10)])
def test_a_range_is_copied_as_it_is(tmp_path: Path, start: int, end: int) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert copied(tmp_path / "x", start, end).read_bytes() == b"0123456789"[start:end]


def test_what_is_behind_a_hole_is_copied_behind_it_whether_the_target_appends_or_not(tmp_path: Path) -> None:
    end = 4 * files.COPY_BYTES
    with (tmp_path / "x").open("wb+", buffering=0) as one:
        os.pwrite(one.fileno(), b"begin", 0)
        os.pwrite(one.fileno(), b"end", end - 3)
        for mode in ("ab", "wb"):
            with (tmp_path / mode).open(mode) as other:
                files.copy_range(one.fileno(), other.fileno(), 0, end)
    assert (tmp_path / "ab").read_bytes() == (tmp_path / "wb").read_bytes() == (tmp_path / "x").read_bytes()


def test_a_range_larger_than_a_chunk_is_copied_whole(tmp_path: Path) -> None:
    data = os.urandom(2 * files.COPY_BYTES + 7)
    (tmp_path / "x").write_bytes(data)
    assert copied(tmp_path / "x", 5, len(data)).read_bytes() == data[5:]


@pytest.mark.parametrize("end", ["data", "hole"])
def test_holes_are_copied_as_holes_and_what_lies_between_as_it_is(tmp_path: Path, end: str) -> None:
    hole = 1 << 26
    with (tmp_path / "x").open("wb") as file:
        file.write(b"begin")
        file.seek(hole)
        file.write(b"middle")
        if end == "hole":
            file.truncate(2 * hole)
    size = (tmp_path / "x").stat().st_size
    target = copied(tmp_path / "x", 0, size)
    assert target.stat().st_size == size
    assert target.stat().st_blocks * 512 < hole, "the file system keeps holes, the copy didn't"
    with target.open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(hole)
        assert file.read(7) == b"middle" + (b"\0" if end == "hole" else b"")


def test_where_holes_cannot_be_looked_for_all_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "no such whence")

    monkeypatch.setattr(system.calls, "lseek", refuse)
    (tmp_path / "x").write_bytes(b"0123456789")
    assert copied(tmp_path / "x", 2, 9).read_bytes() == b"2345678"


def test_on_a_system_without_holes_none_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SEEK_DATA")
    monkeypatch.setattr(system.calls, "lseek", lambda *_: pytest.fail("it was looked for"))
    (tmp_path / "x").write_bytes(b"0123" + bytes(3 * files.COPY_BYTES) + b"456789")
    end = 3 * files.COPY_BYTES + 9
    assert copied(tmp_path / "x", 2, end).read_bytes() == (tmp_path / "x").read_bytes()[2:end]


@pytest.mark.parametrize("size", [0, 9])
def test_a_source_that_ends_too_early_is_a_read_error(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(b"0123456789"[:size])
    with pytest.raises(OSError, match=f"file ended at {size}, 10 bytes were expected") as caught:
        copied(tmp_path / "x", 0, 10)
    assert caught.value.errno == errno.EIO


def test_an_error_has_the_full_path_and_the_call_of_the_inner_block(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="no") as caught,
        files.told("outer", tmp_path),
        files.told("inner", tmp_path / "x"),
    ):
        raise OSError(errno.EIO, "no", "a", None, "b")
    error = caught.value
    assert (error.call, error.filename, error.filename2) == ("inner", str(tmp_path / "x"), None)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("number", "name", "hint"),
    [
        (errno.EROFS, "wal", "mounted for it"),
        (errno.EACCES, "wal", "leave to write"),
        (errno.ENOTDIR, "wal", "a log is a folder of its own"),
        (errno.EISDIR, LOCK_NAME, "move away what has it"),
        (errno.EEXIST, STATE_NAME, "move away what has it"),
        (errno.EISDIR, "wal", None),
        (errno.EIO, LOCK_NAME, None),
    ],
)
def test_advice_is_given_once_and_only_where_there_is_any(number: int, name: str, hint: str | None) -> None:
    with pytest.raises(OSError, match="no") as caught, files.advised(), files.advised():
        raise OSError(number, "no", f"/log/{name}")
    text = caught.value.strerror
    assert text == "no" if hint is None else text.startswith("no: ")
    assert hint is None or text.count(hint) == 1


def test_no_advice_is_given_about_a_file_that_is_not_known() -> None:
    with pytest.raises(OSError, match="no") as caught, files.advised():
        raise OSError(errno.EROFS, "no")
    assert caught.value.strerror == "no"


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/dev/fd").iterdir())


@pytest.mark.parametrize("odd", ["folder", "link", "fifo"])
def test_only_regular_files_are_opened(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "x"
    (tmp_path / "y").write_bytes(b"y")
    {"folder": path.mkdir, "link": lambda: path.symlink_to("y"), "fifo": lambda: os.mkfifo(path)}[odd]()
    before = descriptors()
    with pytest.raises(OSError, match="not a regular file") as caught:
        files.open_regular(str(path), None)
    assert caught.value.errno == errno.EINVAL
    assert descriptors() == before


@pytest.mark.parametrize(
    ("mode", "user", "group", "owned", "expected"),
    [
        (0o664, 0, 0, True, 0o664),  # the same user and group
        (0o664, 0, 1, True, 0o664),  # given to theirs
        (0o664, 0, 1, False, 0o644),  # not given: a strange group may what everybody may
        (0o640, 0, 1, False, 0o600),
        (0o627, 0, 1, False, 0o627),
        (0o640, 1, 0, True, 0o640),
        (0o640, 1, 0, False, 0o640),  # another user's, in a group that is theirs as well
        (0o640, 1, 1, False, 0o600),
    ],
)
def test_a_copy_is_for_those_who_could_read_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, user: int, group: int, owned: bool, expected: int
) -> None:
    given: list[tuple[int, int]] = []
    modes: list[int] = []

    def chown(_fd: int, user: int, to: int) -> None:
        given.append((user, to))
        if not owned:
            raise PermissionError(errno.EPERM, "no")

    def status(fd: int) -> os.stat_result:
        permissions, uid, gid = (mode, 5 + user, 7 + group) if fd == 1 else (0o600, 5, 7)
        return os.stat_result((0o100000 | permissions, 1, 1, 1, uid, gid, 0, 0, 0, 0))

    monkeypatch.setattr(system.calls, "fchown", chown)
    monkeypatch.setattr(system.calls, "fstat", status)
    monkeypatch.setattr(system.calls, "fchmod", lambda _fd, to: modes.append(to))
    files.inherit(1, 2)
    assert given == ([(5 + user, 7 + group)] if user or group else [])
    assert (modes or [0o600]) == [expected]
