"""Recovery in bounded memory: what comes back is what a dictionary has, by rising id; the file is gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path

import logs
import pytest

from walcore import recovery, spill
from walcore.errors import CorruptionError, IncompleteError
from walcore.recovery import MIN_MEMORY, recover
from walcore.spill import SpilledRecords, SpillFile, merged
from walcore.system import calls

RECORDS = [logs.record(lsn, id=lsn * 7919 % 2003 - 1000) for lsn in range(1, 2003)]
PEAKS = """
import json, sys
from pathlib import Path
import walcore
from walcore.recovery import recover

def peak():
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])

recover(sys.argv[2], max_memory=1 << 20)
before = peak()
found = recover(sys.argv[1], max_memory=8 << 20)
count = sum(1 for _ in found.records.values())
print(json.dumps([type(found.records).__name__, count, (peak() - before) / 1024]))
"""


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record weighs a thousandth of the least bound, and a block holds three."""
    monkeypatch.setattr(recovery, "weigh", lambda batch: len(batch) * MIN_MEMORY // 1000)
    monkeypatch.setattr(spill, "BLOCK", 1200)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    logs.log(tmp_path / "log", RECORDS[:700], RECORDS[700:], seal=True)
    return tmp_path / "log"


@pytest.fixture
def spilled(log: Path, heavy: None) -> SpilledRecords:
    records = recover(log, max_memory=MIN_MEMORY).records
    assert isinstance(records, SpilledRecords)
    return records


def test_a_log_that_fits_comes_as_a_dictionary_by_rising_id(log: Path) -> None:
    found = recover(log, max_memory=64 * MIN_MEMORY)
    assert isinstance(found.records, dict)
    assert list(found.records.items()) == sorted((one.id, one) for one in RECORDS)


def test_a_log_that_does_not_fit_is_a_mapping_by_rising_id(spilled: SpilledRecords) -> None:
    by_id = sorted(RECORDS, key=lambda one: one.id)
    assert (len(spilled), list(spilled), list(spilled.values())) == (len(by_id), [one.id for one in by_id], by_id)
    assert list(spilled.items()) == [(one.id, one) for one in by_id]
    assert [spilled[one.id] for one in RECORDS] == RECORDS
    assert {type(one.kind) for one in spilled.values()} == {logs.ValueKind}
    for missing in (-2000, 5000, RECORDS[0].id + 2003, "x", None):
        assert missing not in spilled
    with pytest.raises(KeyError, match="5000"):
        spilled[5000]


def test_a_mapping_in_a_file_shows_its_size_and_not_its_records(spilled: SpilledRecords) -> None:
    assert repr(spilled) == f"<SpilledRecords: {len({one.id for one in RECORDS})} records>"


def test_an_id_between_those_of_the_log_is_missing(tmp_path: Path, heavy: None) -> None:
    logs.log(tmp_path, [logs.record(lsn, id=lsn * 3) for lsn in range(1, 2003)])
    records = recover(tmp_path, max_memory=MIN_MEMORY).records
    assert isinstance(records, SpilledRecords)
    for id_ in range(3 * 2003 + 5):
        one = records.get(id_)
        assert (id_ in records, one and one.id) == (
            (True, id_) if id_ % 3 == 0 and 0 < id_ < 3 * 2003 else (False, None)
        )


def test_no_name_is_left_in_the_folder_and_no_descriptor_behind(
    log: Path, heavy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    before = len(list(Path("/dev/fd").iterdir()))
    with recover(log, max_memory=MIN_MEMORY).records as records:  # type: ignore[attr-defined]
        assert len(list(Path("/dev/fd").iterdir())) == before + 1
        assert list((tmp_path / "tmp").iterdir()) == []
    assert len(list(Path("/dev/fd").iterdir())) == before
    with pytest.raises(ValueError, match="is closed"):
        list(records)
    with pytest.raises(ValueError, match="is closed"):
        records[RECORDS[0].id]
    records.close()  # again
    found = recover(log, max_memory=MIN_MEMORY)
    del found
    assert len(list(Path("/dev/fd").iterdir())) == before
    monkeypatch.setattr(calls, "pwrite", lambda *_: os.pwrite(-1, b"", 0))
    with pytest.raises(OSError, match="Bad file descriptor"):
        recover(log, max_memory=MIN_MEMORY)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_short_writes_are_gone_on_with(log: Path, heavy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = calls.pwrite
    monkeypatch.setattr(calls, "pwrite", lambda fd, data, at: pwrite(fd, data[:100], at))
    assert list(recover(log, max_memory=MIN_MEMORY).records.values()) == sorted(RECORDS, key=lambda one: one.id)


def test_an_incomplete_log_raises_with_the_mapping(log: Path, heavy: None) -> None:
    damaged = log / f"wal-{RECORDS[700].id}.v1.gz"
    damaged.write_bytes(damaged.read_bytes()[:-500])
    with pytest.raises(IncompleteError) as caught:
        recover(log, max_memory=MIN_MEMORY)
    assert isinstance(caught.value.records, SpilledRecords)
    assert set(caught.value.records) > {one.id for one in RECORDS[:700]}


def test_conflicts_are_told_between_runs_and_no_more_than_the_most(
    tmp_path: Path, heavy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = [logs.record(3000 + one.lsn, one.id, "other") for one in RECORDS]
    logs.log(tmp_path, RECORDS, again)
    found = recover(tmp_path, max_memory=MIN_MEMORY)
    assert [(two.kept, two.dropped) for two in found.conflicts] == sorted(
        zip(again, RECORDS, strict=True), key=lambda two: two[0].id
    )
    assert (list(found.records.values()), found.conflicts_left_out) == (sorted(again, key=lambda one: one.id), 0)
    monkeypatch.setattr(recovery, "MAX_CONFLICTS", 10)
    found = recover(tmp_path, max_memory=MIN_MEMORY, on_conflict="first")
    assert (len(found.conflicts), found.conflicts_left_out) == (10, len(RECORDS) - 10)
    assert list(found.records.values()) == sorted(RECORDS, key=lambda one: one.id)
    with pytest.raises(CorruptionError, match="id -999 two values"):
        recover(tmp_path, max_memory=MIN_MEMORY, on_conflict="error")


def test_many_runs_are_merged_before_there_are_too_many(
    tmp_path: Path, heavy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "BLOCK", MIN_MEMORY // 4)
    most = 0

    def counting(runs: list[object]) -> object:
        nonlocal most
        runs = list(runs)
        most = max(most, len(runs))
        return merged(runs)  # type: ignore[arg-type]

    monkeypatch.setattr(recovery, "merged", counting)
    for number in range(10):
        logs.write(tmp_path, f"wal-{number + 1}.v1", logs.plain(RECORDS[200 * number :][:200], number + 1))
    monkeypatch.setattr(recovery, "weigh", lambda _: MIN_MEMORY + 1)
    found = recover(tmp_path, max_memory=MIN_MEMORY)
    assert list(found.records.values()) == sorted(RECORDS[:2000], key=lambda one: one.id)
    assert most == 3


def test_a_run_is_written_whenever_the_bound_is_passed_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def measuring(runs: Iterable[Iterator[list[logs.Record]]]) -> Iterator[list[logs.Record]]:
        kept = [list(run) for run in runs]
        lengths.extend(sum(map(len, run)) for run in kept)
        return merged(map(iter, kept))

    monkeypatch.setattr(recovery, "merged", measuring)
    monkeypatch.setattr(recovery, "weigh", lambda _: MIN_MEMORY // 4)
    logs.log(tmp_path, *(RECORDS[start : start + 100] for start in range(0, 1200, 100)))
    assert list(recover(tmp_path, max_memory=MIN_MEMORY).records.values()) == sorted(
        RECORDS[:1200], key=attrgetter("id")
    )
    assert lengths == [500, 500, 200]
    logs.log(tmp_path / "just", *(RECORDS[start : start + 100] for start in range(0, 400, 100)))
    assert isinstance(recover(tmp_path / "just", max_memory=MIN_MEMORY).records, dict)


def test_records_of_one_id_are_never_in_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "BLOCK", 1)
    records = [logs.record(lsn, id=lsn // 5) for lsn in range(1, 40)]
    with SpillFile() as file:
        runs = [file.write([records]), file.write([records[::3]])]
        blocks = list(merged(map(file.read, runs)))
    assert [{one.id for one in block} for block in blocks] == [{id_} for id_ in range(8)]
    assert [one.lsn for one in blocks[1]] == [5, 6, 7, 8, 9, 7]


def test_the_bound_has_a_least(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1048576, got 1048575"):
        recover(tmp_path, max_memory=MIN_MEMORY - 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
def test_memory_stays_within_the_bound(tmp_path: Path) -> None:
    logs.log(tmp_path / "small", RECORDS[:10])
    big = [logs.record(lsn, lexical=f"value {lsn}" * 9) for lsn in range(1, 100_001)]
    logs.log(tmp_path / "big", big[:30_000], big[30_000:], seal=True)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, tmp_path / "big", tmp_path / "small"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kind, count, rise = json.loads(done.stdout)
    print(f"{rise:.1f} MiB")
    assert (kind, count) == ("SpilledRecords", 100_000)
    assert rise < 8 + 8  # the bound, and what reading takes


def test_conflicts_take_as_much_memory_again_at_most(tmp_path: Path) -> None:
    text = "x" * (MIN_MEMORY // 40)
    parts = [[logs.record(number * 30 + id, id, f"{number} {text}") for id in range(1, 31)] for number in range(2)]
    logs.log(tmp_path, *parts)
    found = recover(tmp_path, max_memory=MIN_MEMORY)
    assert len(found.conflicts) == 19  # of two such texts each
    assert found.conflicts_left_out == 11
    assert {one.lexical[0] for one in found.records.values()} == {"1"}


def test_what_merged_runs_took_is_given_back(log: Path, heavy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SpillFile] = []

    class Seen(SpillFile):
        def __init__(self) -> None:
            assert sum(file.close.alive for file in made) < 2
            super().__init__()
            made.append(self)

    monkeypatch.setattr(recovery, "SpillFile", Seen)
    monkeypatch.setattr(spill, "SpillFile", Seen)
    monkeypatch.setattr(recovery, "BLOCK", MIN_MEMORY)
    found = recover(log, max_memory=MIN_MEMORY)
    assert len(made) > 3
    assert len(found.records) == len(RECORDS)
    assert [file.close.alive for file in made] == [False] * (len(made) - 1) + [True]


@pytest.mark.parametrize("call", ["pwrite", "pread"])
def test_an_error_of_the_temporary_file_names_it(
    log: Path, spilled: SpilledRecords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = spilled._file.path if call == "pread" else tmp_path
    with monkeypatch.context() as patch, pytest.raises(OSError, match="walcore-") as caught:
        if call == "pread":
            patch.setattr(calls, "pread", refuse)
            next(iter(spilled))
        else:
            patch.setattr(calls, "pwrite", refuse)
            recover(log, max_memory=MIN_MEMORY)
    assert str(caught.value.filename).startswith(str(path))
