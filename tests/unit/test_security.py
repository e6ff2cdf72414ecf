"""A folder that somebody else can write to: nothing outside it is read as ours, written, cut, renamed or deleted."""

from __future__ import annotations

import ast
import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oracle
import pytest
import surroundings
from folders import STORE, mint, plain, put
from hostile import checked_line
from logs import raw_frame
from surroundings import KINDS, NAMES, OPERATIONS, SECRET, do, make_outside, snapshot

import walcore
from walcore.system import calls

REPOSITORY = Path(walcore.__file__).parent


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return make_outside(tmp_path)


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    """A log with a torn segment, so that opening has something to put right."""
    return put(tmp_path / "wal", wal_3=plain(1, [1, 2]), wal_4=plain(2, [3, 4])[:-3])


def plant(wal: Path, name: str, kind: Callable[[Path, Path], None], outside: Path) -> None:
    path = wal / name
    path.unlink(missing_ok=True)
    kind(path, outside)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_whatever_lies_under_a_name_nothing_outside_is_touched(
    tmp_path: Path, wal: Path, outside: Path, name: str, kind: Callable[[Path, Path], None]
) -> None:
    plant(wal, name, kind, outside)
    for number, operation in enumerate(OPERATIONS):
        copy = tmp_path / str(number)
        shutil.copytree(wal, copy, symlinks=True, ignore=lambda _, names: [name] if name in names else [])
        kind(copy / name, outside)
        before = snapshot(outside)
        found = do(operation, copy)
        assert snapshot(outside) == before, operation
        if kind is not surroundings.hard_linked_segment:  # that one is a segment of the log like any other
            assert SECRET not in str(found), operation


def contents(wal: Path) -> bytes:
    """All that the log's own files hold."""
    files = [path for path in wal.rglob("*") if path.is_file() and not path.is_symlink()]
    return b"".join(gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in files)


class Swapped:
    """Just before the nth opening of a name within a folder, the name becomes a link to what is outside."""

    def __init__(self, nth: int, target: Path) -> None:
        self.nth, self.target, self.met = nth, target, 0
        self.real = calls.open

    def __call__(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None and path not in {".", ".."}:
            self.met += 1
            if self.met == self.nth:
                if path == "quarantine":
                    os.rename(path, "was-quarantine", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
                elif os.access(path, os.F_OK, dir_fd=dir_fd, follow_symlinks=False):
                    os.unlink(path, dir_fd=dir_fd)
                os.symlink(self.target, path, dir_fd=dir_fd)
        return self.real(path, flags, mode, dir_fd=dir_fd)


@pytest.mark.parametrize("operation", ["read SALVAGE", "find", "open", "write", "info", "purge"])
@pytest.mark.parametrize("target", ["segment", "log"])
def test_a_name_that_becomes_a_link_between_look_and_use_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wal: Path, outside: Path, operation: str, target: str
) -> None:
    before = snapshot(outside)
    for nth in range(1, 200):
        copy = tmp_path / f"copy-{nth}"
        shutil.copytree(wal, copy)
        swapped = Swapped(nth, outside / target)
        with monkeypatch.context() as patch:
            patch.setattr(calls, "open", swapped)
            found = do(operation, copy)
        assert snapshot(outside) == before, nth
        assert SECRET not in str(found), nth
        assert SECRET.encode() not in contents(copy), nth
        if swapped.met < nth:
            assert nth > 2
            return
    pytest.fail("it never came to its end")


def test_a_log_whose_folder_is_exchanged_under_it_stays_in_its_folder(tmp_path: Path, outside: Path) -> None:
    wal = tmp_path / "wal"
    before = snapshot(outside)
    with walcore.open(wal, max_segment_bytes=1024) as log:
        log.log_mint(1, "I", "urn:1")
        log.commit()
        wal.rename(tmp_path / "moved")
        wal.symlink_to(outside / "log")
        for id_ in range(2, 40):
            log.log_mint(id_, "I", "urn:" + "x" * 100)
        log.rotate()
        log.purge_all_segments()
        log.log_mint(7, "I", "urn:7")
    assert snapshot(outside) == before
    assert [record.id for record in walcore.read(tmp_path / "moved")] == [7]


@pytest.mark.parametrize(
    "row",
    [b'["../outside/victim",1,1]', b'["%s/victim",1,1]', b'["lock",1,1]', b'["wal-3.v1/../../outside/victim",1,1]'],
    ids=["up", "absolute", "another", "through"],
)
def test_a_marker_deletes_only_segments(wal: Path, outside: Path, row: bytes) -> None:
    row = row % os.fsencode(outside) if b"%s" in row else row
    for key in (b'"headed":[%s],"headless":[]', b'"headed":[],"headless":[%s]'):
        line = checked_line(b'{"nextLsn":9,"store":"%s",' % STORE.encode() + key % row)
        (wal / "walcore.purge").write_bytes(line)
        before, own = snapshot(outside), {path.name for path in wal.iterdir()}
        for operation in OPERATIONS:
            do(operation, wal)
        assert snapshot(outside) == before
        assert {path.name for path in wal.iterdir()} - {"lock"} >= own - {"lock"}


def test_a_lock_file_of_somebody_else_is_not_cut(wal: Path, outside: Path) -> None:
    (wal / "lock").hardlink_to(outside / "victim")
    with walcore.open(wal) as log:
        log.log_mint(1, "I", "x")
        with pytest.raises(walcore.WalLockedError, match="unknown"):
            walcore.open(wal)
    assert (outside / "victim").read_bytes() == b"precious"
    (wal / "lock").unlink()
    (wal / "lock").write_bytes(b"a lock of another program")
    walcore.open(wal).close()
    assert (wal / "lock").read_bytes() == b"a lock of another program"


def test_a_name_without_room_for_those_made_from_it_is_left_alone_and_reported(wal: Path) -> None:
    long = f"wal-{'0' * 240}5.v1"
    (wal / long).write_bytes(plain(3, [5]))
    with walcore.open(wal) as log:
        assert [(fault.segment, fault.kind) for fault in log.opening.faults] == [(long, "unreadable_segment")]
        log.log_mint(6, "I", "urn:6")
    reader = walcore.read(wal)
    with pytest.warns(walcore.WalDamageWarning, match="its name is too long"):
        assert [record.id for record in reader] == [1, 2, 3, 6]
    assert (wal / long).read_bytes() == plain(3, [5])


# -- what is refused -------------------------------------------------------------------------------------------------


def test_a_number_of_thousands_of_digits_is_out_of_range_like_any_other(wal: Path) -> None:
    huge = 10**5000
    with walcore.open(wal) as log:
        for call in (lambda: log.log_mint(huge, "I", "x"), lambda: log.log_mint_many([-huge], "I", ["x"])):
            with pytest.raises(walcore.InvalidRecordError, match=r"id must fit in 32 bits.*an int of 16610 bits"):
                call()
        with pytest.raises(walcore.InvalidRecordError, match="hash must fit in 32 bits"):
            log.log_mint(1, "I", "x", "", "", huge)
        assert log.last_lsn == 3
    with pytest.raises(walcore.InvalidRecordError, match="id must be from"):
        walcore.find(wal, huge)
    with pytest.raises(TypeError, match="id must be an int, not str"):
        walcore.find(wal, "1")  # type: ignore[arg-type]
    with pytest.raises(walcore.WalConfigError, match="max_segment_bytes"):
        walcore.WalConfig(wal, max_segment_bytes=huge)


def test_readers_too_tell_what_to_do_about_a_marker_that_is_none(wal: Path) -> None:
    (wal / "walcore.purge").mkdir()
    with pytest.raises(OSError, match=r"move away what has it.*walcore\.purge"):
        list(walcore.read(wal))


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_nothing_that_is_in_a_log_controls_a_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\r\x9b31m"
    header = oracle.header_frame(evil, 1, 1, 1)
    record, none = oracle.mint_frame(1, 1, "L", evil, evil, "", 0), raw_frame(evil.encode())
    wal = put(tmp_path / "wal", wal_1=header + record, wal_2=plain(2, [2]) + record + mint(3) + none)
    (wal / "lock").write_text('{"pid":1,"host":"\\u001b[2J","since":"\\u001b[2J"}\n')
    for operation in OPERATIONS:
        assert not [char for char in str(do(operation, wal)) if not char.isprintable() and char not in "\n\t"], (
            operation
        )


# -- no code in data ---------------------------------------------------------------------------------------------------


def imported(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix != ".py":
        yield from re.findall(r"^\s*(?:from|c?import)\s+(\w+)", text, re.MULTILINE)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
            yield node.func.id


def test_nothing_that_is_read_can_become_code() -> None:
    sources = [path for suffix in ("py", "pyx", "pxd") for path in REPOSITORY.rglob(f"*.{suffix}")]
    assert len(sources) > 40
    dangerous = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "eval", "exec"}
    assert {str(path): name for path in sources for name in imported(path) if name in dangerous} == {}
