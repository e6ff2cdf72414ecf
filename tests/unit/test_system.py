"""Every call on a file goes through one object, which a test may put something else into."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from folders import lsns

import walcore
from walcore import system

SOURCES = Path(__file__).parents[2] / "walcore"
# They read and write what their users name; the log they reach through the rest.
OUTSIDE = ("cli", "testing", "rdf.py", "system.py")
# What of os and fcntl touches no file of a log; the constants come on top.
HARMLESS = {
    "PathLike", "TemporaryFile", "fspath", "getpid", "kill", "mkstemp", "path", "register_at_fork", "setpriority",
    "stat_result", "strerror", "uname",
}  # fmt: skip
PATHLIB = {
    "exists", "glob", "hardlink_to", "is_dir", "is_file", "is_symlink", "iterdir", "lstat", "mkdir", "read_bytes",
    "read_text", "resolve", "rglob", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text",
}  # fmt: skip


def calls_past_the_seam(source: str) -> list[str]:
    """Calls on files that a module makes by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner, name = node.value.id, node.attr
            if owner in ("os", "fcntl", "io", "shutil", "tempfile") and name not in HARMLESS and not name.isupper():
                found.append(f"{owner}.{name}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append("open")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PATHLIB:
            through = isinstance(node.func.value, ast.Name) and node.func.value.id == "calls"
            found += [] if through else [f".{node.func.attr}()"]
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "fcntl", "io", "shutil", "tempfile"):
            found.append(f"from {node.module} import")
    return found


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_module_calls_the_system_by_itself(path: Path) -> None:
    if path.relative_to(SOURCES).parts[0] in OUTSIDE:
        return
    assert calls_past_the_seam(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "os.open(p, 0)",
        "with os.fdopen(3) as f: pass",
        "open(p)",
        "path.read_bytes()",
        "from os import fsync",
        "x = os.fsync",
    ],
)
def test_every_way_past_it_is_seen(source: str) -> None:
    assert calls_past_the_seam(source)


class Counted:
    """Stands in for the core's calls: makes them, notes them, and spoils them as it is told."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.error: dict[str, BaseException] = {}
        self.short = 0

    def _note(self, call: str) -> None:
        self.made.append(call)
        if call in self.error:
            raise self.error.pop(call)

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        self._note("pwrite")
        return os.pwrite(fd, data[: self.short] if self.short else data, offset)

    def fdatasync(self, fd: int, /) -> None:
        self._note("fdatasync")
        os.fsync(fd)

    def ftruncate(self, fd: int, size: int, /) -> None:
        self._note("ftruncate")
        os.ftruncate(fd, size)

    def fstat(self, fd: int, /) -> os.stat_result:
        self._note("fstat")
        return os.fstat(fd)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(system.calls, "core", counted)
    return counted


def test_the_core_calls_what_stands_in(core: Counted, tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.commit(wal.log_mint(1, "I", "urn:a"))
    assert core.made[:3] == ["pwrite", "fstat", "fdatasync"]
    assert lsns(tmp_path) == [1]


def test_without_one_it_calls_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pwrite", "fdatasync", "ftruncate"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("called through Python"))
    assert system.calls.core is None
    with walcore.open(tmp_path) as wal:
        wal.commit(wal.log_mint(1, "I", "urn:a"))


def test_short_writes_and_interruptions_go_on(core: Counted, tmp_path: Path) -> None:
    core.short = 7
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "urn:" + "a" * 100)
        core.error["pwrite"] = InterruptedError(errno.EINTR, "")
        wal.commit()
        assert core.made.count("pwrite") > 20
    assert lsns(tmp_path) == [1]


def test_a_full_disk_is_cut_back_and_gone_on_with(core: Counted, tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.commit(wal.log_mint(1, "I", "urn:a"))
        lsn = wal.log_mint(2, "I", "urn:b")
        core.short = 7
        real = core.pwrite

        def full(fd: int, data: bytes, offset: int, /) -> int:
            if "pwrite" in core.made[-1:]:
                raise OSError(errno.ENOSPC, "")
            return real(fd, data, offset)

        core.pwrite = full  # type: ignore[method-assign]
        core.error["ftruncate"] = InterruptedError(errno.EINTR, "")
        with pytest.raises(walcore.WalFullError):
            wal.commit(lsn)
        assert core.made.count("ftruncate") == 2
        core.pwrite, core.short = real, 0  # type: ignore[method-assign]
        wal.commit(lsn)
    assert lsns(tmp_path) == [1, 2]


@pytest.mark.parametrize(
    ("call", "error", "number"),
    [
        ("pwrite", OSError(errno.EDOM, ""), errno.EDOM),
        ("fdatasync", OSError(errno.ENOSPC, ""), errno.ENOSPC),
        ("fstat", OSError(errno.ESTALE, ""), errno.ESTALE),
        ("fdatasync", ValueError("no errno"), errno.EIO),
    ],
)
def test_an_exception_of_what_stands_in_fails_the_log(
    core: Counted, tmp_path: Path, call: str, error: BaseException, number: int
) -> None:
    wal = walcore.open(tmp_path)
    lsn = wal.log_mint(1, "I", "urn:a")
    core.error[call] = error
    with pytest.raises(walcore.WalFailedError) as caught:
        wal.commit(lsn)
    cause: Any = caught.value.__cause__
    assert (caught.value.call, cause.errno) == (call.replace("pwrite", "write"), number)
    with pytest.raises(walcore.WalFailedError):
        wal.close()


def test_a_short_reading_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with walcore.open(tmp_path, max_segment_bytes=1024) as wal:
        wal.log_mint_many([(id, "I", f"urn:{id}") for id in range(1, 30)])
    pread, preadv = system.calls.pread, system.calls.preadv
    monkeypatch.setattr(system.calls, "pread", lambda fd, size, at: pread(fd, min(size, 11), at))
    monkeypatch.setattr(system.calls, "preadv", lambda fd, room, at: preadv(fd, [room[0][:11]], at))
    assert lsns(tmp_path) == list(range(1, 30))
    walcore.open(tmp_path).close()
    assert lsns(tmp_path) == list(range(1, 30))
