"""One writer per directory, and who it is."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from walcore import lock as lock_module
from walcore import system
from walcore.errors import WalLockedError
from walcore.lock import DirectoryLock, is_locked

POSIX_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[DirectoryLock]:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    yield lock
    lock.release()


def as_java(path: Path) -> subprocess.Popen[str]:
    """A process that takes the lock as Java does: a POSIX lock over the whole file."""
    return subprocess.Popen(
        [sys.executable, "-c", POSIX_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_second_opening_is_told_who_holds_the_lock(tmp_path: Path, lock: DirectoryLock) -> None:
    with pytest.raises(WalLockedError, match=str(os.getpid())) as caught:
        DirectoryLock(tmp_path).acquire()
    holder = caught.value.holder
    assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
    assert holder["since"].endswith("+00:00")
    assert isinstance(caught.value, BlockingIOError)
    assert caught.value.errno == errno.EWOULDBLOCK
    assert (tmp_path / "lock").read_bytes().count(b"\n") == 1


def test_a_released_lock_is_free_and_empty(tmp_path: Path, lock: DirectoryLock) -> None:
    assert is_locked(tmp_path)
    lock.release()
    lock.release()
    assert not is_locked(tmp_path)
    assert (tmp_path / "lock").read_bytes() == b""
    again = DirectoryLock(tmp_path)
    again.acquire()
    again.release()


def test_closing_another_descriptor_keeps_the_lock(tmp_path: Path, lock: DirectoryLock) -> None:
    (tmp_path / "lock").read_bytes()
    assert is_locked(tmp_path)


def test_the_lock_shuts_out_a_posix_lock_and_is_shut_out_by_one(tmp_path: Path, lock: DirectoryLock) -> None:
    with as_java(tmp_path / "lock") as other:
        assert other.wait() == 1
    lock.release()
    with as_java(tmp_path / "lock") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": "left", "since": "behind"}))
        assert is_locked(tmp_path)
        with pytest.raises(WalLockedError) as caught:
            DirectoryLock(tmp_path).acquire()
        assert caught.value.holder == {"pid": other.pid, "host": socket.gethostname()}
        other.communicate("")
    assert not is_locked(tmp_path)


def gone() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "word",
    [b"", b"\xff\xfe", b"[1]", b'{"pid":', b'{"pid":true,"host":1}', b'{"pid":1e400,"host":"h","since":"s"}', None],
)
def test_an_unreadable_or_stale_word_is_unknown(tmp_path: Path, lock: DirectoryLock, word: bytes | None) -> None:
    stale = {"pid": gone(), "host": socket.gethostname(), "since": "then"}
    (tmp_path / "lock").write_bytes(json.dumps(stale).encode() if word is None else word)
    with pytest.raises(WalLockedError, match="an unknown process") as caught:
        DirectoryLock(tmp_path).acquire()
    assert caught.value.holder == {}


def test_a_word_from_another_host_is_believed(tmp_path: Path, lock: DirectoryLock) -> None:
    word = {"pid": 4_000_000, "host": "elsewhere", "since": "then"}
    (tmp_path / "lock").write_text(json.dumps(word))
    with pytest.raises(WalLockedError, match="process 4000000 on elsewhere writes to it since then") as caught:
        DirectoryLock(tmp_path).acquire()
    assert caught.value.holder == word


def test_a_forked_child_neither_keeps_nor_frees_the_lock(tmp_path: Path, lock: DirectoryLock) -> None:
    to_child, from_parent = os.pipe()
    from_child, to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        lock.abandon_in_child()
        lock.release()
        os.write(to_parent, b"x")
        os.read(to_child, 1)
        os._exit(0)
    os.read(from_child, 1)
    assert is_locked(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)
    os.write(from_parent, b"x")
    os.waitpid(child, 0)
    for fd in (to_child, from_parent, from_child, to_parent):
        os.close(fd)


def test_release_frees_the_lock_though_a_child_has_the_descriptor(tmp_path: Path, lock: DirectoryLock) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    lock.release()
    assert not is_locked(tmp_path)
    os.kill(child, 9)
    os.waitpid(child, 0)


def test_the_descriptor_does_not_reach_other_programs(lock: DirectoryLock) -> None:
    assert not os.get_inheritable(lock._fd)


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, walcore.lock as l\n"
        "lock = l.DirectoryLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(WalLockedError) as caught:
            DirectoryLock(tmp_path).acquire()
        assert caught.value.holder["pid"] == holder.pid
        holder.kill()
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.release()


def test_what_is_no_regular_file_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OSError, match="not a regular file"):
        DirectoryLock(tmp_path).acquire()
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="lock"):
        DirectoryLock(tmp_path).acquire()
    assert not (tmp_path / "elsewhere").exists()
    assert not is_locked(tmp_path)


def test_without_open_file_locks_a_second_opening_in_the_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "_HAS_OFD", False)
    (tmp_path / "link").symlink_to(tmp_path)
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    with pytest.raises(WalLockedError, match=str(os.getpid())):
        DirectoryLock(tmp_path / "link").acquire()
    assert is_locked(tmp_path)
    with as_java(tmp_path / "lock") as other:
        assert other.wait() == 1
    lock.release()
    assert not is_locked(tmp_path)
    lock.acquire()
    lock.release()


def test_without_open_file_locks_another_process_is_seen_and_named_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "_HAS_OFD", False)
    (tmp_path / "lock").touch()
    assert not is_locked(tmp_path)
    with as_java(tmp_path / "lock") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        with pytest.raises(WalLockedError) as caught:
            DirectoryLock(tmp_path).acquire()
        assert caught.value.holder == {}
        other.communicate(timeout=20)
    assert not is_locked(tmp_path)
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.release()


def test_without_open_file_locks_one_that_could_not_be_had_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "_HAS_OFD", False)
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError, match="lock"):
        DirectoryLock(tmp_path).acquire()
    (tmp_path / "lock").rmdir()
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.abandon_in_child()  # the process forgets it, as a forked child does
    DirectoryLock(tmp_path).acquire()


def test_a_child_gives_up_no_descriptor_of_a_lock_that_was_not_taken_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = DirectoryLock(tmp_path)
    monkeypatch.setattr(system.calls, "close", lambda fd: pytest.fail(f"{fd} was closed"))
    lock.abandon_in_child()
    monkeypatch.undo()
    lock.acquire()
    assert is_locked(tmp_path)
    lock.release()


def test_a_lock_is_not_taken_twice_by_one_object(lock: DirectoryLock) -> None:
    with pytest.raises(RuntimeError, match="already held by this lock object"):
        lock.acquire()
    assert is_locked(lock.path.parent)


def test_a_system_that_refuses_locks_is_an_error_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(system.calls, "fcntl", refuse)
    with pytest.raises(OSError, match="No locks available") as caught:
        DirectoryLock(tmp_path).acquire()
    assert not isinstance(caught.value, WalLockedError)
    assert caught.value.filename == str(tmp_path / "lock")


def test_a_holder_that_comes_and_goes_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(lock_module, "_set", held)
    monkeypatch.setattr(lock_module, "_conflict", lambda *_: None)
    with pytest.raises(WalLockedError) as caught:
        DirectoryLock(tmp_path).acquire()
    assert caught.value.holder == {}


def test_the_word_of_another_users_process_is_believed(
    tmp_path: Path, lock: DirectoryLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ours(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_ours)
    with pytest.raises(WalLockedError) as caught:
        DirectoryLock(tmp_path).acquire()
    assert caught.value.holder["pid"] == os.getpid()


def test_a_longer_word_left_by_a_crash_is_overwritten_whole(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b'{"pid":' + b"x" * 1000)
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    assert json.loads((tmp_path / "lock").read_bytes())["pid"] == os.getpid()
    lock.release()


def test_a_directory_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nowhere" / "lock")):
        DirectoryLock(tmp_path / "nowhere").acquire()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="file/lock"):
        DirectoryLock(tmp_path / "file").acquire()


def test_who_only_asks_opens_the_lock_for_reading(
    tmp_path: Path, lock: DirectoryLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, opened = [], system.calls.open
    monkeypatch.setattr(system.calls, "open", lambda path, how, *mode: flags.append(how) or opened(path, how, *mode))
    assert is_locked(lock.path.parent)
    assert [how & os.O_ACCMODE for how in flags] == [os.O_RDONLY]


@pytest.mark.parametrize("start", [0, 1, 7, 2**62])
def test_the_lock_is_over_the_whole_file(tmp_path: Path, lock: DirectoryLock, start: int) -> None:
    """Java's is, and one of a part of it keeps a writer out as well."""
    take = f"fcntl.lockf(file, {fcntl.LOCK_EX | fcntl.LOCK_NB}, 1, {start})"
    code = f"import fcntl; file = open({str(tmp_path / 'lock')!r}, 'r+b'); {take}"
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 1
    lock.release()
    keep = f"{code}; print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        other.communicate(b"\n")
    assert not is_locked(tmp_path)


def test_who_can_not_be_known_is_nobody(tmp_path: Path, lock: DirectoryLock) -> None:
    """A process of another PID namespace has the number 0 here."""
    with (tmp_path / "lock").open("rb") as file:
        assert lock_module._holder(file.fileno(), 0) == {}
        assert lock_module._holder(file.fileno(), 1) == {"pid": 1, "host": socket.gethostname()}


def test_a_word_is_left_where_nothing_but_a_holder_or_zeros_was(tmp_path: Path) -> None:
    for word, kept in ((b"", False), (bytes(9), False), (b'{"pid"', False), (b"mine", True), (b"\0x", True)):
        (tmp_path / "lock").write_bytes(word)
        lock = DirectoryLock(tmp_path)
        lock.acquire()
        assert ((tmp_path / "lock").read_bytes() == word) == kept
        lock.release()
        assert (tmp_path / "lock").read_bytes() == (word if kept else b"")


def test_a_lock_that_is_held_is_not_taken_again(tmp_path: Path, lock: DirectoryLock) -> None:
    with pytest.raises(RuntimeError, match="already held by this lock object"):
        lock.acquire()
    assert is_locked(tmp_path)
