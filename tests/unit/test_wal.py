"""The front door: what each call does, returns and refuses."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import threading
import uuid
from pathlib import Path
from typing import Any

import oracle
import pytest

import walcore
from walcore import SyncPolicy, ValueKind, WalClosedError, WalConfig, WalTimeoutError, system
from walcore.segments import Directory, NewSegment


def lsns(directory: Path) -> list[int]:
    return [record.lsn for record in walcore.read(directory)]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_readme_story(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal") as wal:
        lsn = wal.log_mint(42, ValueKind.LITERAL, "Zürich", language="de", hash=7)
        assert wal.commit(lsn) == 1
    record = walcore.Record(1, 42, ValueKind.LITERAL, "Zürich", "", "de", 7)
    assert list(walcore.read(tmp_path / "wal")) == [record]
    assert walcore.recover(tmp_path / "wal").records == {42: record}
    assert walcore.find(tmp_path / "wal", 42) == record
    assert walcore.find(tmp_path / "wal", 43) is None


def test_the_bytes_are_header_and_frames(tmp_path: Path) -> None:
    store = str(uuid.uuid4())
    with walcore.open(tmp_path, store_uuid=store) as wal:
        wal.log_mint(5, "I", "urn:x")
        wal.log_mint(-6, "L", 'a "b"', "urn:t", hash=-1)
        wal.commit()
    header, *frames = oracle.frames((tmp_path / "wal-5.v1").read_bytes())
    created = oracle.parse(header)["created"]
    assert header == oracle.header_frame(store, created, 1, 5)
    assert frames == [oracle.mint_frame(1, 5, "I", "urn:x"), oracle.mint_frame(2, -6, "L", 'a "b"', "urn:t", "", -1)]


def test_lsns_go_on_over_openings(tmp_path: Path) -> None:
    for opening in range(4):
        with walcore.open(tmp_path) as wal:
            assert wal.last_lsn == wal.durable_lsn == opening
            assert wal.has_initial_segments is (opening > 0)
            assert wal.log_mint(opening, "I", "urn:x") == opening + 1
    assert lsns(tmp_path) == [1, 2, 3, 4]


def test_opening_and_closing_writes_no_segment(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal"):
        pass
    assert names(tmp_path / "wal") == ["lock"]
    assert list(walcore.read(tmp_path / "wal")) == []


def test_only_the_last_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        walcore.open(tmp_path / "a" / "b")
    with pytest.raises(FileNotFoundError):
        walcore.open(tmp_path / "wal", create=False)
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        walcore.open(tmp_path / "file")


def test_a_config_comes_alone(tmp_path: Path) -> None:
    config = WalConfig(tmp_path, sync_policy=SyncPolicy.ALWAYS)
    with walcore.open(config) as wal:
        assert wal.config == config
    with pytest.raises(TypeError, match="sync_policy"):
        walcore.open(config, sync_policy="COMMIT")


def test_the_store_is_taken_from_the_directory_and_another_one_refused(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "urn:x")
        store = wal.store_uuid
    with walcore.open(tmp_path) as wal:
        assert wal.store_uuid == store
    before = names(tmp_path)
    with pytest.raises(walcore.StoreMismatchError, match=store):
        walcore.open(tmp_path, store_uuid=uuid.uuid4())
    assert names(tmp_path) == before


def test_the_repr_tells_path_policy_lsns_and_state(tmp_path: Path) -> None:
    with walcore.open(tmp_path, sync_policy="INTERVAL") as wal:
        wal.log_mint(1, "I", "urn:x")
        for word in (str(tmp_path), "INTERVAL", "LSN 1", "written ", "durable 0", "open"):
            assert word in repr(wal)
    assert "closed" in repr(wal)
    assert "durable 1" in repr(wal)


def test_a_subclass_may_log_in_its_own_way(tmp_path: Path) -> None:
    class Loud(walcore.Wal):
        def log_mint(self, *arguments: Any, **options: Any) -> int:
            return super().log_mint(*arguments, **options) * 100

    with Loud(WalConfig(tmp_path)) as wal:
        assert wal.log_mint(1, "I", "x") == 100
        assert wal.commit() == 1
    with pytest.raises(WalClosedError, match="anew"):
        wal.__enter__()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_close_refuses_a_timeout_below_zero_and_stays_open(tmp_path: Path, timeout: float) -> None:
    with walcore.open(tmp_path) as wal:
        with pytest.raises(ValueError, match="timeout"):
            wal.close(timeout)
        with pytest.raises(TypeError):
            wal.close("1")  # type: ignore[arg-type]
        wal.log_mint(1, "I", "x")


def test_a_handle_can_be_neither_pickled_nor_copied(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="config"):
                way(wal)


# --- policies ---------------------------------------------------------------------------------------------------------


def test_always_returns_when_the_record_is_on_disk(tmp_path: Path) -> None:
    with walcore.open(tmp_path, sync_policy="ALWAYS") as wal:
        for i in range(5):
            assert wal.log_mint(i, "I", "urn:x") == wal.durable_lsn == i + 1
        first, last = wal.log_mint_many(range(1000), "I", "urn:x")
        assert (first, last) == (6, 1005)
        assert wal.durable_lsn == 1005
        assert wal.stats().syncs == 6


def test_commit_policy_writes_nothing_before_it_is_asked(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "urn:x")
        assert (wal.written_lsn, wal.durable_lsn) == (0, 0)
        wal.log_mint(2, "I", "urn:x")
        wal.flush()
        assert (wal.written_lsn, wal.durable_lsn) == (2, 0)
        assert wal.stats().syncs == 0
        wal.log_mint(3, "I", "urn:x")
        assert wal.commit(1) == 3
        assert wal.stats().buffered_bytes == 0


def test_interval_syncs_by_itself_and_commit_does_not_wait(tmp_path: Path) -> None:
    with walcore.open(tmp_path, sync_policy="INTERVAL", sync_interval=0.2) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        assert wal.commit(lsn) == 0
        deadline = threading.Event()
        for _ in range(100):
            if wal.durable_lsn == lsn:
                break
            deadline.wait(0.05)
        assert wal.durable_lsn == lsn
        lsn = wal.log_mint(2, "I", "urn:x")
        wal.await_durable(lsn)
        assert wal.durable_lsn == lsn


@pytest.mark.parametrize("policy", list(SyncPolicy))
def test_await_durable_waits_under_every_policy(tmp_path: Path, policy: SyncPolicy) -> None:
    with walcore.open(tmp_path, sync_policy=policy, sync_interval=1000) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        wal.await_durable(lsn)
        assert wal.durable_lsn == lsn
        lsn = wal.log_mint(1, "I", "urn:x")
        wal.await_durable(lsn, timeout=20)
        assert wal.durable_lsn == lsn


@pytest.mark.parametrize("wait", ["commit", "await_durable"])
def test_an_lsn_that_was_not_given_is_refused(tmp_path: Path, wait: str) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "urn:x")
        for lsn in (0, -1, 2, 2**70):
            with pytest.raises(ValueError, match="last_lsn"):
                getattr(wal, wait)(lsn)
        for odd in ("1", 1.0, True):
            with pytest.raises(TypeError, match="lsn"):
                getattr(wal, wait)(odd)
    with walcore.open(tmp_path) as wal:
        assert wal.commit(1) == 1


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_below_zero_is_refused(tmp_path: Path, timeout: float) -> None:
    with walcore.open(tmp_path) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        with pytest.raises(ValueError, match="timeout"):
            wal.await_durable(lsn, timeout)
        with pytest.raises(TypeError, match="timeout"):
            wal.await_durable(lsn, "1")  # type: ignore[arg-type]


def test_a_wait_that_runs_out_tells_what_is_durable_and_the_record_stays_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran_out = threading.Event()
    make = Directory.create_segment

    def make_late(*args: Any) -> NewSegment:
        assert ran_out.wait(10)
        return make(*args)

    monkeypatch.setattr(Directory, "create_segment", make_late)
    with walcore.open(tmp_path) as wal:
        lsn = wal.log_mint(1, "I", "urn:x")
        with pytest.raises(WalTimeoutError) as caught:
            wal.await_durable(lsn, timeout=0)
        assert caught.value.durable_lsn == 0
        ran_out.set()
        assert isinstance(caught.value, TimeoutError)
    assert lsns(tmp_path) == [1]


# --- many -------------------------------------------------------------------------------------------------------------


def test_columns_are_sequences_or_one_value_for_all(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many([1, 2], ["L", "L"], ["a", "b"], ["urn:t", ""], ["", "en"], [5, -5]) == (1, 2)
        assert wal.log_mint_many(range(3, 5), ValueKind.IRI, ("c", "d")) == (3, 4)
        assert wal.log_mint_many(5, "B", iter(["e", "f"]), hashes=9) == (5, 6)
        assert wal.log_mint_many(7, "N", "g") == (7, 7)
    rows = [(r.id, r.kind, r.lexical, r.datatype, r.language, r.hash) for r in walcore.read(tmp_path)]
    assert rows == [
        (1, "L", "a", "urn:t", "", 5), (2, "L", "b", "", "en", -5), (3, "I", "c", "", "", 0), (4, "I", "d", "", "", 0),
        (5, "B", "e", "", "", 9), (5, "B", "f", "", "", 9), (7, "N", "g", "", "", 0),
    ]  # fmt: skip


def test_integer_columns_may_be_arrays(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    with walcore.open(tmp_path) as wal:
        for dtype in ("int32", "int64", "int16", "uint8", "object"):
            wal.log_mint_many(numpy.array([1, 2, 3], dtype=dtype), "I", ["a", "b", "c"])
        wal.log_mint_many(numpy.arange(6, dtype="int64")[::2], "I", ["a", "b", "c"], hashes=numpy.int32(4))
        with pytest.raises(walcore.InvalidRecordError, match=r"row 1: id .*2147483648"):
            wal.log_mint_many(numpy.array([1, 2**31]), "I", "x")
    assert [r.id for r in walcore.read(tmp_path)] == [1, 2, 3] * 5 + [0, 2, 4]


def test_records_and_tuples_are_taken_and_lsns_ignored(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "a") as wal:
        wal.log_mint_many((i, "L", f"v{i}", "urn:t", "", i) for i in range(10))
    with walcore.open(tmp_path / "b") as wal:
        wal.log_mint(1, "I", "first")
        assert wal.log_mint_many(walcore.read(tmp_path / "a")) == (2, 11)
        assert wal.log_mint_many([(1, "I", "x"), [2, "L", "y", "urn:t"]]) == (12, 13)
    assert [r.lexical for r in walcore.read(tmp_path / "b")] == ["first", *(f"v{i}" for i in range(10)), "x", "y"]


def test_no_rows_is_no_lsn(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many([]) == (1, 0)
        wal.log_mint(1, "I", "x")
        assert wal.log_mint_many([], "I", []) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "row"),
    [
        (([1, 2, 2**40], "I", "x"), walcore.InvalidRecordError, 2),
        (([1, 2], ["I", "X"], "x"), walcore.InvalidRecordError, 1),
        (([1, 2], "I", ["a", "b"], ["", "urn:t"]), walcore.InvalidRecordError, 1),
        (([1, 2], "I", ["a", 5]), TypeError, 1),
        (([1, "2"], "I", ["a", "b"]), TypeError, 1),
        (([(1, "I", "a"), (2, "I")],), TypeError, 1),
        (([(1, "I", "a"), (2, "I", "a", "", "", 0, 0)],), TypeError, 1),
        (([(1, "I", "a"), "IBL"],), TypeError, 1),
        (([(1, "I", "a"), (1, "Z", "a")],), walcore.InvalidRecordError, 1),
    ],
)
def test_a_bad_row_is_named_by_its_index_and_nothing_of_its_slice_is_logged(
    tmp_path: Path, arguments: tuple[Any, ...], error: type[Exception], row: int
) -> None:
    with walcore.open(tmp_path) as wal:
        with pytest.raises(error, match=f"row {row}") as caught:
            wal.log_mint_many(*arguments)
        assert wal.last_lsn == 0
        if isinstance(caught.value, walcore.InvalidRecordError):
            assert caught.value.row == row
            assert caught.value.first_lsn is None


def test_columns_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        with pytest.raises(walcore.InvalidRecordError, match="lexicals has 3"):
            wal.log_mint_many([1, 2], "I", ["a", "b", "c"])
        with pytest.raises(TypeError, match="columns"):
            wal.log_mint_many([1, 2], "I")
        with pytest.raises(TypeError, match="iter"):
            wal.log_mint_many(5)
        assert wal.last_lsn == 0


def test_a_bad_row_of_a_later_slice_leaves_the_earlier_ones_and_says_so(tmp_path: Path) -> None:
    def rows() -> Any:
        for i in range(1000):
            yield (i, "I", "x" * 100)
        yield (1, "I", 5)

    with walcore.open(tmp_path, batch_buffer_bytes=8192, sync_policy="ALWAYS") as wal:
        with pytest.raises(TypeError, match="row 1000") as caught:
            wal.log_mint_many(rows())
        assert wal.durable_lsn == wal.last_lsn
        assert 900 < wal.last_lsn < 1000
        assert caught.value.__notes__ == [f"logged before this: LSN 1 to {wal.last_lsn}"]
        with pytest.raises(walcore.InvalidRecordError) as own:
            wal.log_mint_many([*[(1, "I", "x" * 100)] * 500, (1, "Z", "x")])
        assert own.value.row == 500
        assert own.value.last_lsn == wal.last_lsn > own.value.first_lsn  # type: ignore[operator]


def test_a_generator_that_raises_lets_its_own_error_out(tmp_path: Path) -> None:
    def rows() -> Any:
        yield (1, "I", "x")
        raise KeyError("mine")

    with walcore.open(tmp_path) as wal:
        with pytest.raises(KeyError, match="mine"):
            wal.log_mint_many(rows())
        assert wal.last_lsn == 0


def test_a_generator_may_log_to_the_same_log(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many((wal.log_mint(i, "I", "inner"), "I", "outer") for i in range(3)) == (4, 6)
    assert [r.lexical for r in walcore.read(tmp_path)] == ["inner"] * 3 + ["outer"] * 3


# --- large and small --------------------------------------------------------------------------------------------------


def test_frames_larger_than_half_and_segment_lie_in_order_between_small_ones(tmp_path: Path) -> None:
    sizes = [10, 5000, 3, 200_000, 200_000, 7, 4000, 1_000_000, 1]
    with walcore.open(tmp_path, batch_buffer_bytes=8192, max_segment_bytes=20_000) as wal:
        for i, size in enumerate(sizes):
            wal.log_mint(i, "L", chr(0x61 + i) * size)
        wal.log_mint_many([(100 + i, "L", chr(0x100 + i) * size) for i, size in enumerate(sizes)])
        wal.commit()
        assert wal.stats().buffered_bytes == 0
    records = list(walcore.read(tmp_path, mode="STRICT"))
    assert [r.lsn for r in records] == list(range(1, 19))
    assert [len(r.lexical) for r in records] == sizes * 2
    assert [r.lexical[0] for r in records[9:]] == [chr(0x100 + i) for i in range(9)]


def test_what_no_frame_can_hold_is_refused_at_the_call(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        huge = "\0" * (90 * 1024 * 1024)  # six bytes each
        with pytest.raises(walcore.RecordTooLargeError, match="536870912"):
            wal.log_mint(1, "L", huge)
        with pytest.raises(walcore.RecordTooLargeError, match="row 1"):
            wal.log_mint_many([(1, "L", "x"), (1, "L", huge)])
        assert wal.last_lsn == 0


def test_a_full_buffer_makes_the_producer_wait_not_lose(tmp_path: Path) -> None:
    with walcore.open(tmp_path, batch_buffer_bytes=4097) as wal:
        for i in range(5000):
            wal.log_mint(i, "L", "x" * 40)
    assert lsns(tmp_path) == list(range(1, 5001))


# --- segments ---------------------------------------------------------------------------------------------------------


def test_rotate_finishes_the_segment_and_the_next_record_begins_another(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.rotate()
        wal.log_mint(1, "I", "a")
        wal.rotate()
        assert wal.durable_lsn == 1
        assert wal.stats().segment is None
        wal.rotate()
        wal.log_mint(2, "I", "b")
        wal.commit()
        assert wal.stats().segment == "wal-2.v1"
    assert sorted(p.name for p in tmp_path.glob("wal-*")) == ["wal-1.v1.gz", "wal-2.v1"]


def test_a_purge_drops_what_came_before_and_lsns_go_on(tmp_path: Path) -> None:
    with walcore.open(tmp_path, max_segment_bytes=1024) as wal:
        for i in range(50):
            wal.log_mint(i, "I", "urn:before")
        wal.commit()
        wal.log_mint(50, "I", "urn:unwritten")
        wal.purge_all_segments()
        assert wal.durable_lsn == wal.last_lsn == 51
        assert list(tmp_path.glob("wal-*")) == []
        assert wal.log_mint(7, "I", "urn:after") == 52
        wal.commit()
        header, _ = oracle.frames((tmp_path / "wal-7.v1").read_bytes())
        assert oracle.parse(header)["segment"] == 1
        wal.purge_all_segments()
    assert lsns(tmp_path) == []
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint(8, "I", "urn:x") == 53


@pytest.mark.parametrize("call", ["fsync", "rename", "fdatasync"])
def test_a_purge_that_may_have_begun_fails_the_log_and_one_that_has_not_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def no_room(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    wal = walcore.open(tmp_path)
    wal.log_mint(1, "I", "a")
    wal.commit()
    with monkeypatch.context() as patch:
        patch.setattr(system.calls, call, no_room)
        with pytest.raises(walcore.WalFailedError if call == "fsync" else OSError, match="full"):
            wal.purge_all_segments()
    if call == "fsync":
        with pytest.raises(walcore.WalFailedError):
            wal.log_mint(2, "I", "b")
        with pytest.raises(walcore.WalFailedError):
            wal.close()
    else:
        wal.log_mint(2, "I", "b")
        wal.close()
        assert lsns(tmp_path) == [1, 2]


def test_a_purge_deletes_what_could_not_be_read_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "a")
        wal.commit()
        real, hits = os.open, []

        def flaky(path: Any, *arguments: Any, **options: Any) -> int:
            if str(path).endswith("wal-1.v1") and not hits:
                hits.append(path)
                raise PermissionError(errno.EACCES, "for a moment", path)
            return real(path, *arguments, **options)

        monkeypatch.setattr(system.calls, "open", flaky)
        wal.purge_all_segments()
    assert hits
    assert lsns(tmp_path) == []


def test_a_full_disk_met_by_a_sync_of_the_directory_fails_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    wal = walcore.open(tmp_path)
    lsn = wal.log_mint(1, "I", "a")
    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "fsync", no_room)
        with pytest.raises(walcore.WalFailedError) as caught:
            wal.commit(lsn)
    assert (caught.value.call, caught.value.durable_lsn) == ("fsync", 0)
    with pytest.raises(walcore.WalFailedError):
        wal.commit(lsn)
    with pytest.raises(walcore.WalFailedError):
        wal.close()


def test_a_segment_that_may_not_be_read_keeps_the_log_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "a")
    real = os.open

    def forbidden(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("wal-1.v1"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "open", forbidden)
        with pytest.raises(PermissionError, match=r"wal-1\.v1"):
            walcore.open(tmp_path)
    walcore.open(tmp_path).close()


def test_on_force_is_called_for_each_file_synced_and_never_by_the_writer(tmp_path: Path) -> None:
    paths: list[Path] = []
    threads: set[str] = set()

    def listener(path: Path) -> None:
        paths.append(path)
        threads.add(threading.current_thread().name)
        raise RuntimeError("a listener's trouble is its own")

    with walcore.open(tmp_path, on_force=listener) as wal:
        wal.log_mint(1, "I", "a")
        wal.commit()
        wal.rotate()
        wal.log_mint(2, "I", "b")
        wal.commit()
    names = [path.name for path in paths]
    assert names[0] == "wal-1.v1"
    assert "wal-1.v1.gz" in names
    assert names.index("wal-2.v1") > names.index("wal-1.v1")
    assert threads == {"walcore-sealer"}


# --- the end ----------------------------------------------------------------------------------------------------------


def test_after_close_calls_raise_and_close_does_nothing(tmp_path: Path) -> None:
    wal = walcore.open(tmp_path)
    lsn = wal.log_mint(1, "I", "x")
    wal.close()
    wal.close()
    assert wal.is_closed
    assert wal.durable_lsn == 1
    wal.await_durable(lsn)
    assert wal.commit() == 1
    log: list[Any] = [lambda: wal.log_mint(1, "I", "x"), lambda: wal.log_mint_many([(1, "I", "x")])]
    calls = [*log, wal.rotate, wal.purge_all_segments]
    for call in calls:
        with pytest.raises(WalClosedError):
            call()
    with walcore.open(tmp_path) as again:
        assert again.opening.clean


def test_an_exception_in_the_block_still_closes(tmp_path: Path) -> None:
    def work() -> None:
        with wal:
            wal.log_mint(1, "I", "x")
            raise KeyError

    wal = walcore.open(tmp_path)
    with pytest.raises(KeyError):
        work()
    assert lsns(tmp_path) == [1]
    assert wal.is_closed


def test_stats_are_one_moment(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "x")
        before = wal.stats()
        assert (before.state, before.last_lsn, before.durable_lsn, before.segment) == ("open", 1, 0, None)
        assert before.buffered_bytes == len(oracle.mint_frame(1, 1, "I", "x"))
        wal.commit()
        after = wal.stats()
        assert (after.durable_lsn, after.syncs, after.writes, after.buffered_bytes) == (1, 1, 1, 0)
        assert after.bytes_written == before.buffered_bytes
        assert 0 < after.sync_seconds_max <= after.sync_seconds
    assert wal.stats().state == "closed"


@pytest.mark.parametrize("id", [0, 7, -2147483648, 2147483647])
def test_a_segment_holds_what_fits_to_the_byte(tmp_path: Path, id: int) -> None:
    store, text = "0f8fad5b-d9cb-469f-a165-70867728950e", "x" * 600
    header = len(oracle.header_frame(store, 1_700_000_000, 1, id))
    frames = sum(len(oracle.mint_frame(lsn, id, "I", text, "", "", 0)) for lsn in (1, 2))
    for limit, segments in ((header + frames, 1), (header + frames - 1, 2)):
        directory = tmp_path / str(limit)
        with walcore.open(directory, store_uuid=store, max_segment_bytes=limit) as wal:
            for _ in range(2):
                wal.log_mint(id, "I", text)
        assert walcore.recover(directory).report.segments == segments
