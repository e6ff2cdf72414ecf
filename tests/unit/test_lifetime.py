"""Forks, exits, dropped logs: what becomes of an open log when its process does something else."""

from __future__ import annotations

import errno
import faulthandler
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import lsns

import walcore
from walcore import lifetime, live, segments
from walcore.lock import DirectoryLock


def in_child(work: Callable[[], object]) -> int:
    """Fork, do `work` there, and return the exit code: 0 if it returned, 1 if it raised, -SIGALRM if it hung."""
    child = os.fork()
    if child == 0:
        # Not by `dump_traceback_later`: it hangs itself where pytest's faulthandler_timeout has a thread in the parent.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
        signal.alarm(10)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def everything_raises(wal: walcore.Wal) -> None:
    """In a child: no call works, none hangs, and what ends a log does nothing."""
    calls: list[Callable[[], object]] = [
        lambda: wal.log_mint(1, "I", "x"),
        lambda: wal.log_mint_many([1], "I", "x"),
        wal.commit,
        lambda: wal.await_durable(1),
        wal.flush,
        wal.rotate,
        wal.purge_all_segments,
        wal.stats,
    ]
    for call in calls:
        try:
            call()
        except walcore.WalClosedError as error:
            assert "fork" in str(error)
        else:
            raise AssertionError(call)
    assert "forked" in repr(wal)
    wal.close()
    with pytest.raises(walcore.WalLockedError):
        walcore.open(wal.path)


def holds_nothing_of(directory: Path) -> None:
    files = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert not [path for path in files if path.startswith(str(directory))]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_a_forked_child_every_call_raises_and_the_parent_goes_on(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.commit(wal.log_mint(1, "I", "x"))
    wal.log_mint(2, "I", "unwritten")
    assert in_child(lambda: everything_raises(wal)) == 0
    assert in_child(lambda: holds_nothing_of(wal.path)) == 0
    wal.commit(wal.log_mint(3, "I", "y"))
    with pytest.raises(walcore.WalLockedError):
        walcore.open(tmp_path / "wal")
    wal.close()
    assert lsns(tmp_path / "wal") == [1, 2, 3]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_threads_hold_the_log_hangs_no_child(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal", batch_buffer_bytes=5000, max_segment_bytes=20_000)
    stop = threading.Event()

    def produce() -> None:
        many = [(id, "I", "x" * 60) for id in range(40)]
        while not stop.is_set():
            wal.commit(wal.log_mint_many(many)[1])

    threads = [threading.Thread(target=produce) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            assert in_child(lambda: everything_raises(wal)) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    last = wal.last_lsn
    wal.close()
    assert lsns(tmp_path / "wal") == list(range(1, last + 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_lives_on_keeps_no_lock_and_a_child_that_ends_takes_none_away(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.log_mint(1, "I", "x")
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        assert in_child(lambda: None) == 0
        with pytest.raises(walcore.WalLockedError):
            walcore.open(tmp_path / "wal")
        wal.close()
        walcore.open(tmp_path / "wal").close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_log_dropped_in_a_child_writes_nothing_twice(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path / "wal")
    wal.log_mint(1, "I", "x")

    def drop() -> None:
        nonlocal wal
        del wal
        gc.collect()

    assert in_child(drop) == 0
    wal.close()
    assert lsns(tmp_path / "wal") == [1]


@pytest.fixture
def while_opening(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What is done once a log that is being opened has its lock, and is not a log yet."""
    todo: list[Callable[[], object]] = []
    real = live.open_directory

    def opened(*args: Any) -> Any:
        for work in todo:
            work()
        return real(*args)

    monkeypatch.setattr(live, "open_directory", opened)
    return todo


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_while_a_log_is_opened_keeps_nothing_of_it(
    tmp_path: Path, while_opening: list[Callable[[], object]]
) -> None:
    ends: list[int] = []
    while_opening.append(lambda: ends.append(in_child(lambda: holds_nothing_of(tmp_path))))
    with walcore.open(tmp_path / "wal") as wal:
        assert ends == [0]
        with pytest.raises(walcore.WalLockedError):
            DirectoryLock(tmp_path / "wal").acquire()
        wal.commit(wal.log_mint(1, "I", "x"))
    assert lsns(tmp_path / "wal") == [1]


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What the interpreter calls at its end, for the logs of this test."""
    monkeypatch.setattr(lifetime, "_open_logs", weakref.WeakSet())
    return lifetime._at_exit


def test_an_end_while_a_log_is_opened_is_not_the_logs(
    tmp_path: Path,
    at_exit: Callable[[], None],
    while_opening: list[Callable[[], object]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By a thread that no handler waits for: that there is nothing to drain yet is no failure."""
    while_opening.append(at_exit)
    with walcore.open(tmp_path / "wal") as wal:
        wal.commit(wal.log_mint(1, "I", "x"))
    assert not caplog.records


def test_a_log_that_fails_at_exit_is_told_and_the_others_are_closed_all_the_same(
    tmp_path: Path, at_exit: Callable[[], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wals = [walcore.open(tmp_path / str(number)) for number in range(5)]
    create = segments.Directory.create_segment

    def refuse(self: segments.Directory, *args: Any) -> Any:
        if self.path.name == "2":
            raise OSError(errno.EIO, "Input/output error", str(self.path))
        return create(self, *args)

    monkeypatch.setattr(segments.Directory, "create_segment", refuse)
    for wal in wals:
        wal.log_mint(1, "I", "x")
    at_exit()
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path / '2'} could not be closed at exit"]
    assert "Input/output error" in caplog.text
    assert all(wal.is_closed for wal in wals)
    assert [len(lsns(wal.path)) for wal in wals] == [1, 1, 0, 1, 1]


def test_a_log_does_not_go_into_a_pickle_but_its_config_does(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        with pytest.raises(TypeError, match="pickle its config"):
            pickle.dumps(wal)
        assert pickle.loads(pickle.dumps(wal.config)) == wal.config


def test_a_spawned_process_opens_its_own(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint(1, "I", "x")
    # The child can't import this file: the code goes as text, the config pickled.
    code = "import walcore\nwith walcore.open(config) as wal: wal.log_mint(2, 'I', 'from the other process')"
    other = multiprocessing.get_context("spawn").Process(target=exec, args=(code, {"config": wal.config}))
    other.start()
    other.join(30)
    assert other.exitcode == 0
    assert lsns(tmp_path / "wal") == [1, 2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_worker_can_open_its_own_log_and_not_its_parents(tmp_path: Path, method: str) -> None:
    code = """
import walcore
with walcore.open(own) as mine: mine.commit(mine.log_mint(1, 'I', 'a worker'))
try: walcore.open(theirs)
except walcore.WalLockedError: pass
else: raise AssertionError
if wal is not None:
    try: wal.log_mint(2, 'I', 'x')
    except walcore.WalClosedError: pass
    else: raise AssertionError
"""
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint(1, "I", "x")
        context = multiprocessing.get_context(method)
        names = {"own": tmp_path / "own", "theirs": wal.path, "wal": wal if method == "fork" else None}
        worker = context.Process(target=exec, args=(code, names))
        worker.start()
        worker.join(30)
        assert worker.exitcode == 0
        wal.commit(wal.log_mint(2, "I", "y"))
    assert lsns(tmp_path / "wal") == [1, 2]
    assert lsns(tmp_path / "own") == [1]


def test_a_program_that_replaces_itself_leaves_what_was_committed_and_no_lock(tmp_path: Path) -> None:
    again = "import sys, walcore; wal = walcore.open(sys.argv[1]); print(wal.log_mint(3, 'I', 'z')); wal.close()"
    more = f"""
import os
wal.commit(wal.log_mint(2, 'I', 'y'))
wal.log_mint(3, 'I', 'not committed')
os.execv(sys.executable, [sys.executable, '-c', {again!r}, sys.argv[1]])
"""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + more, tmp_path / "wal", "COMMIT"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"
    assert lsns(tmp_path / "wal") == [1, 2, 3]


def test_a_program_started_meanwhile_inherits_nothing(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        wal.commit(wal.log_mint(1, "I", "x"))
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
        here = str(wal.path)
        inherited = [fd for fd in Path(f"/proc/{child.pid}/fd").iterdir() if os.path.realpath(fd).startswith(here)]
    walcore.open(tmp_path / "wal").close()
    child.communicate(b"\n", timeout=10)
    assert inherited == []


def test_the_second_opening_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    program = "import sys, walcore; wal = walcore.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "wal"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"open\n"
    with pytest.raises(walcore.WalLockedError, match=str(other.pid)) as caught:
        walcore.open(tmp_path / "wal")
    assert caught.value.holder["pid"] == other.pid
    assert caught.value.errno == errno.EWOULDBLOCK
    other.communicate(timeout=10)
    with walcore.open(tmp_path / "wal"), pytest.raises(walcore.WalLockedError, match=str(os.getpid())):
        walcore.open(tmp_path / "wal")


def test_logs_of_one_process_do_not_know_of_each_other(tmp_path: Path) -> None:
    logs = [walcore.open(tmp_path / f"wal{number}", batch_buffer_bytes=5000) for number in range(12)]
    for id in range(50):
        for number, wal in enumerate(logs):
            assert wal.log_mint(id, "I", f"{number} {id}") == id + 1
    for wal in logs[::2]:
        wal.close()
    for wal in logs[1::2]:
        wal.commit()
        wal.close()
    for number in range(12):
        assert [record.lexical for record in walcore.read(tmp_path / f"wal{number}")][-1] == f"{number} 49"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("policy", ["COMMIT", "INTERVAL"])
def test_a_dropped_log_warns_and_is_drained(tmp_path: Path, policy: str) -> None:
    def drop() -> None:
        wal = walcore.open(tmp_path / "wal", sync_policy=policy)
        wal.log_mint(1, "I", "x")

    with pytest.warns(ResourceWarning, match="never closed"):
        drop()
        gc.collect()
    deadline = time.monotonic() + 5
    while True:
        try:
            walcore.open(tmp_path / "wal", create=False).close()
        except walcore.WalLockedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            break
    assert lsns(tmp_path / "wal") == [1]


EXITS = {
    "the end of the program": "",
    "an exception": "raise SystemError('on purpose')",
    "sys.exit": "sys.exit(3)",
    "a thread of its own": """
def late():
    threading.main_thread().join()
    for id in range(50):
        wal.log_mint(id, 'I', 'from a thread')
threading.Thread(target=late).start()
last = 51
""",
    # What the thread is told is not printed: Python aborts where a daemon thread writes to stderr while it shuts down.
    "a daemon thread in a wait": """
def wait():
    try:
        while True:
            wal.commit(wal.log_mint(1, 'I', 'x'))
    except walcore.WalClosedError:
        pass
threading.Thread(target=wait, daemon=True).start()
""",
    "a handler registered after": "atexit.register(lambda: wal.log_mint(2, 'I', 'late')); last = 2",
    "a handler that closes": "atexit.register(wal.close)",
    "a handler that commits": "atexit.register(lambda: wal.commit(wal.log_mint(2, 'I', 'late'))); last = 2",
    "a rotation under way": "wal.rotate(); wal.log_mint(2, 'I', 'y'); last = 2",
    "an exception in a thread": """
def late():
    wal.log_mint(2, 'I', 'from a thread')
    raise ValueError('on purpose')
threading.Thread(target=late).start()
last = 2
""",
    "a handler that opens another": """
def late():
    wal.close()
    again = walcore.open(sys.argv[1])
    again.commit(again.log_mint(2, 'I', 'opened at exit'))
    again.close()
atexit.register(late)
last = 2
""",
    "SIGTERM with a handler": """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
while True: wal.commit(wal.log_mint(1, 'I', 'x'))
""",
    "Ctrl-C in a wait": """
import os, signal
print(last, flush=True)
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
while True: wal.await_durable(wal.log_mint(1, 'I', 'x'))
""",
    "a cycle": "class Cycle: pass\ncycle = Cycle(); cycle.wal = wal; cycle.self = cycle",
}
PROGRAM = """
import atexit, faulthandler, sys, threading
faulthandler.dump_traceback_later(15, exit=True)
before = []
atexit.register(lambda: before and before[0]())
import walcore
last = 1
wal = walcore.open(sys.argv[1], sync_policy=sys.argv[2], max_segment_bytes=2000,
                   batch_buffer_bytes=5000)
wal.log_mint(1, 'I', 'x')
"""


@pytest.mark.parametrize("policy", ["COMMIT", "INTERVAL"])
@pytest.mark.parametrize("way", EXITS)
def test_at_exit_an_open_log_is_drained(tmp_path: Path, way: str, policy: str) -> None:
    program = PROGRAM + EXITS[way] + "\nprint(last, flush=True)\n"
    if "raise" in EXITS[way] or "exit(" in EXITS[way]:
        program = PROGRAM + "print(last, flush=True)\n" + EXITS[way]
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "wal", policy],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    ends = {"an exception": 1, "sys.exit": 3, "Ctrl-C in a wait": -signal.SIGINT}
    assert done.returncode == ends.get(way, 0), done.stderr
    found = lsns(tmp_path / "wal")
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= int(done.stdout)
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.opening.clean, "it was not closed"


def test_a_handler_registered_before_finds_the_log_closed(tmp_path: Path) -> None:
    more = """
def late():
    try:
        wal.log_mint(2, 'I', 'y')
    except walcore.WalClosedError:
        print('closed', flush=True)
before.append(late)
"""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + more, tmp_path / "wal", "COMMIT"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "closed\n"
    assert lsns(tmp_path / "wal") == [1]


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 15)", "os.kill(os.getpid(), 9)"])
def test_what_was_committed_outlives_an_end_without_farewell(tmp_path: Path, end: str) -> None:
    more = f"import os\nwal.commit()\nwal.log_mint(2, 'I', 'not committed')\n{end}\n"
    subprocess.run([sys.executable, "-c", PROGRAM + more, tmp_path / "wal", "COMMIT"], check=False, timeout=30)
    assert lsns(tmp_path / "wal") == [1]
    with walcore.open(tmp_path / "wal") as wal:
        assert not wal.opening.clean
        assert wal.log_mint(3, "I", "z") == 2


@pytest.mark.parametrize("policy", ["COMMIT", "ALWAYS", "INTERVAL"])
def test_a_stop_longer_than_any_timeout_costs_nothing_but_the_waits(tmp_path: Path, policy: str) -> None:
    more = """
import contextlib, os
TIMEOUT = 0.03
wal.close()
wal = walcore.open(sys.argv[1], sync_policy=sys.argv[2], batch_buffer_bytes=5000, max_segment_bytes=20_000,
                   buffer_timeout=TIMEOUT, sync_interval=TIMEOUT)
def work():
    logged = 0
    while logged < 300:
        try: lsn = wal.log_mint(logged, 'I', 'x' * 100)
        except walcore.WalFullError: continue
        logged += 1
        while True:
            try: wal.await_durable(lsn, timeout=TIMEOUT)
            except walcore.WalTimeoutError as error: assert error.durable_lsn < lsn
            else: break
        assert wal.durable_lsn >= lsn
threads = [threading.Thread(target=work) for _ in range(3)]
print('go', flush=True)
for thread in threads: thread.start()
for thread in threads: thread.join()
while not wal.is_closed:
    with contextlib.suppress(walcore.WalTimeoutError): wal.close(timeout=TIMEOUT)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + more, tmp_path / "wal", policy], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "go\n"
    for _ in range(4):
        time.sleep(0.02)
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        child.send_signal(signal.SIGCONT)
    child.stdout.close()
    assert child.wait(30) == 0
    assert lsns(tmp_path / "wal") == list(range(1, 902))
