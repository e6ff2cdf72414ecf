"""Reading ahead in a thread: the same bytes, damage and errors as without, and nothing left behind."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resources import descriptors

import walcore
from walcore import ahead, reader, sources
from walcore.ahead import AheadSource
from walcore.errors import CorruptionError
from walcore.frames import FrameReader
from walcore.reader import Pass, ReadMode, Report
from walcore.segments import list_segments
from walcore.sources import GzipSource, PlainSource
from walcore.system import calls

RECORDS = [logs.record(lsn, lexical=f"{lsn * 7919 % 100_003} und {lsn * 104_729}") for lsn in range(1, 401)]
THREADS = "walcore-ahead"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logs of some kilobytes are large, so that their segments come in many pieces."""
    monkeypatch.setattr(sources, "CHUNK", 512)
    monkeypatch.setattr(ahead, "CHUNK", 512)
    monkeypatch.setattr(ahead, "LARGE", 1000)
    open_before = descriptors()
    yield
    assert not running()
    assert descriptors() == open_before


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREADS]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    logs.log(tmp_path / "log", RECORDS[:200], RECORDS[200:], seal=True)
    return tmp_path / "log"


def batches_of(directory: Path) -> Iterator[list[logs.Record]]:
    return (batch for _, batch in Pass(directory, ReadMode.STRICT, ahead=True).batches())


def read(directory: Path) -> Iterator[logs.Record]:
    return chain.from_iterable(batches_of(directory))


def outcome(directory: Path, mode: ReadMode) -> tuple[list[logs.Record], Report, str]:
    current, got, error = Pass(directory, mode, ahead=True), [], ""
    try:
        for _, batch in current.batches():
            got += batch
    except CorruptionError as raised:
        error = str(raised)
    return got, current.report(), error


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_is_read_ahead_is_what_one_thread_reads(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("log")
    logs.log(directory, RECORDS[:150], RECORDS[150:180], RECORDS[180:], seal=True)
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        harm = data.draw(st.sampled_from(["none", "flip", "cut", "splice", "again"]))
        at = data.draw(st.integers(0, len(content) - 1))
        if harm == "flip":
            content = content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :]
        elif harm == "cut":
            content = content[:at]
        elif harm == "splice":
            content = content[:at] + data.draw(st.binary(max_size=20)) + content[at + data.draw(st.integers(0, 99)) :]
        elif harm == "again":
            content += content
        path.write_bytes(content)
    mode = data.draw(st.sampled_from(ReadMode))
    found = outcome(directory, mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "AheadSource", type("Alone", (GzipSource,), {"close": lambda _: None}))
        assert found == outcome(directory, mode)


def test_a_thread_does_it(log: Path) -> None:
    batches = batches_of(log)
    assert sum(len(next(batches)) for _ in range(5)) < 50
    assert len(running()) == 1
    assert sum(map(len, batches)) > 350


@pytest.mark.parametrize(("what", "threads"), [("read", 0), ("counts", 1), ("read_arrow", 1)])
def test_who_makes_no_records_has_a_thread(log: Path, monkeypatch: pytest.MonkeyPatch, what: str, threads: int) -> None:
    begun: list[threading.Thread] = []
    begin = AheadSource._begin
    monkeypatch.setattr(AheadSource, "_begin", lambda self: (begun.append(threading.current_thread()), begin(self)))
    if what == "read_arrow":
        assert sum(map(len, walcore.read_arrow(log).batches())) == len(RECORDS)
    elif what == "counts":
        assert sum(list(walcore.read(log).counts())[-1].values()) == len(RECORDS)
    else:
        assert list(walcore.read(log)) == RECORDS
    assert len(begun) == 2 * threads  # one for each sealed segment


def test_a_small_segment_takes_no_thread(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "CHUNK", 1 << 20)
    monkeypatch.setattr(ahead, "Thread", None)
    assert list(read(log)) == RECORDS


@pytest.mark.parametrize("consumed", [20, 100, 220])
def test_an_abandoned_pass_leaves_no_thread_and_no_descriptor(log: Path, consumed: int) -> None:
    records = read(log)
    for _ in range(consumed):
        next(records)
    assert running()
    del records
    assert not running()


def test_an_error_of_the_thread_is_raised_where_the_records_are_read(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PlainSource.readinto

    def failing(self: PlainSource, room: memoryview) -> int:
        if threading.current_thread().name == THREADS:
            raise OSError(errno.EIO, "Input/output error", str(self.path))
        return real(self, room)

    monkeypatch.setattr(PlainSource, "readinto", failing)
    with pytest.raises(OSError, match=r"Input/output error: .*wal-1\.v1\.gz"):
        list(read(log))


@pytest.mark.parametrize("when", ["__init__", "start"])
def test_where_no_thread_may_start_one_reads_alone(log: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def refused(_: threading.Thread, **__: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, when, refused)
    assert list(read(log)) == RECORDS


def test_a_thread_that_ends_at_birth_is_noticed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AheadSource, "_run", lambda *_: None)
    assert list(read(log)) == RECORDS


def test_a_thread_that_takes_its_time_is_waited_for(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, waits = PlainSource.readinto, iter([0.05, 0.05])

    def slow(self: PlainSource, room: memoryview) -> int:
        if threading.current_thread().name == THREADS:
            time.sleep(next(waits, 0))
        return real(self, room)

    monkeypatch.setattr(PlainSource, "readinto", slow)
    monkeypatch.setattr(ahead, "_MOMENT", 0.001)
    monkeypatch.setattr(GzipSource, "read_again", lambda _: pytest.fail("it gave the thread up"))
    assert list(read(log)) == RECORDS
    assert next(waits, None) is None


def test_a_pass_goes_on_in_the_child_of_a_fork(log: Path) -> None:
    records = read(log)
    first = [next(records) for _ in range(10)]
    child = os.fork()
    if child == 0:
        os._exit(0 if first + list(records) == RECORDS else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert first + list(records) == RECORDS


def test_an_interrupt_while_waiting_for_a_piece_ends_the_thread(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: AheadSource) -> None:
        raise KeyboardInterrupt

    records = read(log)
    for _ in range(20):
        next(records)
    assert running()
    monkeypatch.setattr(AheadSource, "_next", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(records)


def test_an_interrupt_while_the_thread_ends_waits_for_it_all_the_same(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, calls_of_join = threading.Thread.join, []

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        calls_of_join.append(self)
        if len(calls_of_join) == 1:
            raise KeyboardInterrupt
        join(self, timeout)

    (one, _) = list_segments(log)
    fd = calls.open(one.path, os.O_RDONLY)
    source = AheadSource(fd, one.size, one.path)
    batches = FrameReader(one, fd, one.size, records=True, source=source).batches()
    for _ in range(5):
        next(batches)
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        source.close()
    calls.close(fd)
