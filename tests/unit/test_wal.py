"""The front door: what each call does, returns and refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import oracle
import pytest
from folders import lsns

import walcore
from walcore import SyncPolicy, ValueKind, WalClosedError, WalConfig


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


def test_a_subclass_can_call_all_that_it_overrides(tmp_path: Path) -> None:
    class Careful(walcore.Wal):
        def log_mint_many(self, *arguments: Any, **options: Any) -> tuple[int, int]:
            return super().log_mint_many(*arguments, **options)

        def commit(self, lsn: int | None = None) -> int:
            return super().commit(lsn)

        def await_durable(self, lsn: int, timeout: float | None = None) -> None:
            super().await_durable(lsn, timeout)

    with Careful(WalConfig(tmp_path)) as wal:
        assert wal.log_mint_many([(1, "I", "x"), (2, "I", "y")]) == (1, 2)
        assert wal.commit(1) >= 1
        wal.await_durable(2, timeout=60)
        assert wal.durable_lsn == 2


def test_where_no_thread_can_be_had_a_forgotten_log_is_closed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    wal = walcore.open(tmp_path)
    wal.log_mint(1, "I", "x")
    monkeypatch.setattr("_thread.start_new_thread", none_left)
    with pytest.warns(ResourceWarning, match="never closed"):
        del wal
        gc.collect()
    assert lsns(tmp_path) == [1]
    with walcore.open(tmp_path) as again:
        assert again.opening.clean


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


# -- segments ---------------------------------------------------------------------------------------------------------


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


# -- the end ----------------------------------------------------------------------------------------------------------


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
        assert 0 < after.sync_seconds_max <= after.sync_seconds < 3600  # seconds, and not their billionths
    assert wal.stats().state == "closed"


def test_what_the_package_has_is_listed_before_it_is_imported() -> None:
    code = "import sys, walcore; print(*dir(walcore)); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, imported = (line.split() for line in done.stdout.splitlines())
    assert set(walcore.__all__) <= set(listed)
    assert listed == sorted(set(listed))
    assert "walcore.wal" not in imported
    assert dir(walcore) == sorted(set(dir(walcore)))
