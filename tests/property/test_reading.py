"""Whatever happens to a log's bytes: never a wrong record, never a crash, and what is lost is reported."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walcore.errors import CorruptionError
from walcore.reader import Reader, ReadMode, Report, read
from walcore.record import Record

FIRST = [logs.record(lsn) for lsn in (1, 2, 3)]
SECOND = [logs.record(lsn) for lsn in (4, 5, 6)]
THIRD = [logs.record(lsn) for lsn in (7, 8)]
ALL = FIRST + SECOND + THIRD


def make(directory: Path, *, seal: bool, victim: int) -> tuple[Path, bytes]:
    """A log of three segments; its victim, sealed or plain, with its bytes."""
    for number, records in enumerate((FIRST, SECOND, THIRD), 1):
        content, name = logs.plain(records, number), f"wal-{records[0].id}.v1"
        if seal and number == victim:
            logs.write(directory, name + ".gz", logs.sealed(content, records[-1].id))
        else:
            logs.write(directory, name, content)
    records = (FIRST, SECOND, THIRD)[victim - 1]
    path = directory / f"wal-{records[0].id}.v1{'.gz' if seal else ''}"
    return path, path.read_bytes()


def run(directory: Path, mode: ReadMode) -> tuple[list[Record], Report, Reader]:
    reader = read(directory, mode=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = []
        try:
            got.extend(reader)
        except CorruptionError:
            assert mode is ReadMode.STRICT
        report, counted = reader.report, dict[str, int]()
        try:
            for counted in reader.counts():  # noqa: B007 - the last is that of all
                pass
        except CorruptionError:
            assert mode is ReadMode.STRICT
        assert (reader.report, {kind: n for kind, n in counted.items() if n}) == (
            report, Counter(str(one.kind) for one in got)
        )  # fmt: skip
        return got, report, reader


def in_order(part: list[Record], whole: list[Record]) -> bool:
    rest = iter(whole)
    return all(one in rest for one in part)


def judge(directory: Path, what: str, unseen: list[list[Record]] | None = None) -> None:
    """Read with every mode; what may be read without a word is ALL or one of `unseen`."""
    lost = {}
    for mode in ReadMode:
        got, report, _ = run(directory, mode)
        assert in_order(got, ALL), f"{what}: {mode} read a record that was never written"
        if got != ALL and got not in (unseen or []):
            assert report.faults, f"{what}: {mode} lost {len(ALL) - len(got)} records and reported nothing"
        if not report.faults and mode is ReadMode.STRICT:
            assert report.finished, what
        lost[mode] = len(ALL) - len(got)
    assert lost[ReadMode.SALVAGE] <= lost[ReadMode.SEGMENT] <= lost[ReadMode.STOP], what


@pytest.mark.parametrize("victim", [1, 2, 3])
@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
def test_every_single_bit_flip_is_reported_or_harmless(tmp_path: Path, seal: bool, victim: int) -> None:
    path, content = make(tmp_path, seal=seal, victim=victim)
    for bit in range(0, 8 * len(content), 1 if victim == 2 else 7):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        judge(tmp_path, f"bit {bit}")


@pytest.mark.parametrize("victim", [1, 2, 3])
@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
def test_every_truncation_gives_the_records_before_it(tmp_path: Path, seal: bool, victim: int) -> None:
    path, content = make(tmp_path, seal=seal, victim=victim)
    records = (FIRST, SECOND, THIRD)[victim - 1]
    # A plain file cut between two frames is a log to which no more was written, as far as anybody can tell.
    before = ALL[: ALL.index(records[0])]
    ends = {len(logs.plain(records[:n], victim)): before + records[:n] for n in range(len(records))}
    after = ALL[ALL.index(records[-1]) + 1 :]
    for size in range(len(content)):
        path.write_bytes(content[:size])
        whole = ends.get(size) if not seal else None
        judge(tmp_path, f"cut to {size}", [] if whole is None else [whole + after])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_piece_replaced_by_any_bytes_is_reported_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("log")
    path, content = make(directory, seal=data.draw(st.booleans()), victim=data.draw(st.integers(1, 3)))
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(start + 600, len(content))))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=40)) + content[end:])
    # Whole frames taken out of a plain file leave no trace.
    holes = [ALL[:n] + ALL[m:] for n in range(len(ALL)) for m in range(n, len(ALL) + 1)]
    judge(directory, f"bytes {start} to {end}", [] if path.suffix == ".gz" else holes)


TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
INT32 = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(INT32, st.sampled_from("IBLN"), TEXT, TEXT, TEXT, INT32), max_size=20), st.booleans())
def test_any_record_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str, str, str, int]], seal: bool
) -> None:
    directory = tmp_path_factory.mktemp("log")
    records = [Record(lsn, *row) for lsn, row in enumerate(rows, 1)]
    content = logs.plain(records)
    if seal:
        logs.write(directory, "wal-1.v1.gz", logs.sealed(content, max([0, *(one.id for one in records)])))
    else:
        logs.write(directory, "wal-1.v1", content)
    assert list(read(directory, mode="STRICT")) == records
