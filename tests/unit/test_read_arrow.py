"""A log as Arrow record batches: their types and sizes, who takes them, what is refused, and that nothing is left."""

from __future__ import annotations

import gc
import re
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import logs
import pytest
from arrows import pyarrow, records, same
from resources import descriptors, resident

import walcore
from walcore._core.arrow import Appender, RecordBatch, stream_capsule
from walcore.arrow import ArrowReader
from walcore.reader import ReadMode

MIB = 1024 * 1024


class Streamed:
    """An iterator of batches as a consumer of streams wants it."""

    def __init__(self, batches: Iterator[RecordBatch]) -> None:
        self.batches = batches

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return stream_capsule(self.batches)


def values(count: int) -> list[walcore.Record]:
    """Records whose datatypes and languages change from batch to batch of four."""
    return [
        walcore.Record(
            lsn, lsn * 3, walcore.ValueKind.LITERAL, f"v{lsn}",
            f"urn:{lsn // 4}" if lsn % 3 else "", "" if lsn % 3 else f"l{lsn // 8}", -lsn,
        )
        for lsn in range(1, count + 1)
    ]  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 50 records in two segments, the first sealed."""
    written = values(50)
    content = logs.plain(written[:30], 1)
    logs.write(tmp_path / "wal", "wal-1.v1.gz", logs.sealed(content, 90))
    logs.write(tmp_path / "wal", "wal-2.v1", logs.plain(written[30:], 2))
    return tmp_path / "wal"


def table_of(reader: Any) -> Any:
    return pyarrow.RecordBatchReader.from_stream(reader).read_all()


def test_the_columns_are_the_fields_of_record(log: Path) -> None:
    coded = {"kind": pyarrow.int8(), "datatype": pyarrow.int32(), "language": pyarrow.int32()}
    types = {"lsn": pyarrow.int64(), "id": pyarrow.int32(), "lexical": pyarrow.utf8(), "hash": pyarrow.int32()}
    types |= {name: pyarrow.dictionary(index, pyarrow.utf8()) for name, index in coded.items()}
    schema = pyarrow.schema(
        [pyarrow.field(name, types[name], nullable=False) for name in walcore.Record.__match_args__]
    )
    reader = walcore.read_arrow(log)
    assert pyarrow.schema(reader) == schema
    assert table_of(reader).schema == schema
    assert all(pyarrow.schema(batch) == schema for batch in reader.batches())


def test_batches_go_across_segments_and_have_the_rows_asked_for(log: Path) -> None:
    reader = walcore.read_arrow(log, batch_rows=8)
    assert [len(batch) for batch in reader.batches()] == [8] * 6 + [2]
    assert reader.report.complete
    assert (reader.report.records, reader.report.first_lsn, reader.report.last_lsn) == (50, 1, 50)
    assert [len(batch) for batch in walcore.read_arrow(log).batches()] == [50]
    assert records(reader.batches()) == values(50)


def test_a_batch_ends_before_its_text_is_too_much() -> None:
    appender = Appender(100, 1000)
    for lsn, size in enumerate((400, 400, 400, 5000, 10), 1):
        appender.append(walcore.Record(lsn, 1, "L", "x" * (size // 2), "d" * (size - size // 2)))
    assert [len(batch) for batch in appender.take()] == [3, 1]  # the datatype of the three is there once
    assert [len(batch) for batch in appender.take(begun=True)] == [1]
    assert appender.take(begun=True) == []


def test_a_batch_has_65536_rows_and_text_of_64_mib_unless_told_otherwise(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "rows") as wal:
        wal.log_mint_many(range(70_000), "I", "x")
    assert [len(batch) for batch in walcore.read_arrow(tmp_path / "rows").batches()] == [65_536, 70_000 - 65_536]
    with walcore.open(tmp_path / "text") as wal:
        for id in range(3):
            wal.log_mint(id, "I", "x" * (24 * MIB))
    batches = walcore.read_arrow(tmp_path / "text").batches()
    assert [[one.id for one in records([batch])] for batch in batches] == [[0, 1], [2]]


@pytest.mark.parametrize("mode", ReadMode)
def test_an_empty_log_is_a_stream_without_rows(tmp_path: Path, mode: ReadMode) -> None:
    assert same(tmp_path, mode) == []
    assert table_of(walcore.read_arrow(tmp_path, mode=mode)).num_rows == 0
    walcore.open(tmp_path).close()
    assert table_of(walcore.read_arrow(tmp_path, mode=mode)).num_rows == 0


def rows_of(table: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def by_pyarrow(reader: ArrowReader) -> list[tuple[Any, ...]]:
    return rows_of(table_of(reader))


def by_polars(reader: ArrowReader) -> list[tuple[Any, ...]]:
    polars = pytest.importorskip("polars", reason="one of the consumers: pip install polars")
    rows: list[tuple[Any, ...]] = polars.DataFrame(reader).rows()
    return rows


def by_duckdb(reader: ArrowReader) -> list[tuple[Any, ...]]:
    duckdb = pytest.importorskip("duckdb", reason="one of the consumers: pip install duckdb")
    with duckdb.connect() as connection:
        rows: list[tuple[Any, ...]] = connection.sql("select * from reader order by lsn").fetchall()
    return rows


def test_the_program_in_the_docs_runs_as_it_stands(log: Path) -> None:
    pytest.importorskip("polars", reason="one of the consumers: pip install polars")
    pytest.importorskip("duckdb", reason="one of the consumers: pip install duckdb")
    page = Path(__file__).parents[2] / "docs" / "arrow.md"
    program = "".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    program += "\nassert table.num_rows == len(frame) == wal.last_lsn - 3 == 50"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=log.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "L" in done.stdout


@pytest.mark.parametrize("consumer", [by_pyarrow, by_polars, by_duckdb])
def test_batches_with_different_dictionaries_are_read_right(log: Path, consumer: Callable[[Any], Any]) -> None:
    expected = [tuple(getattr(one, name) for name in walcore.Record.__match_args__) for one in values(50)]
    for batch_rows in (4, 7, 1000):
        assert consumer(walcore.read_arrow(log, batch_rows=batch_rows)) == expected


def test_long_datatypes_and_languages_that_differ_in_one_character_are_kept_apart(tmp_path: Path) -> None:
    alike = [
        f"http://www.w3.org/2001/XMLSchema#{'x' * at}{letter}{'x' * (40 - at)}" for at in range(41) for letter in "abc"
    ]
    written = [
        walcore.Record(lsn, lsn, walcore.ValueKind.LITERAL, "v", alike[lsn * 7 % 123], alike[lsn * 11 % 123], 0)
        for lsn in range(1, 1000)
    ]
    logs.log(tmp_path, written)
    (batch,) = walcore.read_arrow(tmp_path).batches()
    assert records([batch]) == written
    for name in ("datatype", "language"):  # each stands in the dictionary once
        assert sorted(pyarrow.record_batch(batch)[name].dictionary.to_pylist()) == sorted(alike)


def test_a_batch_is_lent_as_often_as_asked_and_outlives_its_reader(log: Path) -> None:
    batch = next(walcore.read_arrow(log, batch_rows=20).batches())
    first, second = pyarrow.record_batch(batch), pyarrow.record_batch(batch)
    column = first.column("datatype")
    del first, batch
    gc.collect()
    assert column.to_pylist() == second.column("datatype").to_pylist() == [one.datatype for one in values(20)]
    with pytest.raises(TypeError, match="read_arrow"):
        RecordBatch()


def test_each_consumer_gets_a_pass_of_its_own(log: Path) -> None:
    reader = walcore.read_arrow(log)
    begun = reader.batches()
    assert len(next(begun)) == table_of(reader).num_rows == table_of(reader).num_rows == 50


# -- what can't be had -------------------------------------------------------------------------------------------------

ALONE = [
    ("lexical", b'{"t":"M","lsn":9,"id":9,"vk":"L","lex":"a\\uD800b","dt":"","lang":"","hash":0}\n'),
    ("datatype", b'{"t":"M","lsn":9,"id":9,"vk":"L","lex":"\\n","dt":"\\uDC00","lang":"","hash":0}\n'),
    ("language", b'{"t":"M","lsn":9,"id":9,"vk":"L","lex":"\\uD83D\\uDE00","dt":"\\"","lang":"\\uDFFF","hash":0}\n'),
    ("lexical", b'{"t": "M", "lsn":9, "id":9, "vk":"L", "lex":"a\\uD800b", "dt":"", "lang":"", "hash":0}\n'),
    ("language", b'{"lsn":9,"id":9,"t":"M","vk":"L","lex":"","dt":"","lang":"\\uD800","hash":0}\n'),
]


@pytest.mark.parametrize(("field", "line"), ALONE)
def test_a_lone_surrogate_is_named_by_its_lsn_or_replaced(tmp_path: Path, field: str, line: bytes) -> None:
    logs.write(tmp_path, "wal-1.v1", logs.plain(values(5)) + logs.raw_frame(line) + logs.mint(logs.record(10, 10, "z")))
    batches = walcore.read_arrow(tmp_path).batches()
    before = next(batches)
    assert records([before]) == values(5)
    with pytest.raises(walcore.InvalidRecordError, match=f"LSN 9: {field} holds a lone surrogate") as caught:
        next(batches)
    assert caught.value.field == field
    with pytest.raises(pyarrow.ArrowInvalid, match=r"InvalidRecordError: LSN 9: .*surrogates=\"replace\""):
        table_of(walcore.read_arrow(tmp_path))
    nine, ten = records(walcore.read_arrow(tmp_path, surrogates="replace").batches())[-2:]
    (expected,) = [one for one in walcore.read(tmp_path) if one.lsn == 9]
    parts = [getattr(expected, name) for name in ("lexical", "datatype", "language")]
    assert [nine.lexical, nine.datatype, nine.language] == [
        "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in part) for part in parts
    ]
    assert ten.lexical == "z"


def test_arguments_are_judged_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        walcore.read_arrow(tmp_path / "none")
    for wrong in ({"mode": "ALL"}, {"batch_rows": 0}, {"surrogates": "ignore"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            walcore.read_arrow(tmp_path, **wrong)  # type: ignore[arg-type]


# -- damage and failures -----------------------------------------------------------------------------------------------


def test_a_reader_says_what_it_reads_and_how(tmp_path: Path) -> None:
    assert repr(walcore.read_arrow(tmp_path, mode="salvage")) == f"ArrowReader({str(tmp_path)!r}, mode='SALVAGE')"


def test_strict_gives_what_lies_before_the_fault_then_says_what_it_is(log: Path) -> None:
    path = log / "wal-2.v1"
    content = bytearray(path.read_bytes())
    content[content.index(b'"lsn":40') + 30] ^= 1
    path.write_bytes(content)
    batches = walcore.read_arrow(log, mode="STRICT", batch_rows=16).batches()
    got = []
    with pytest.raises(walcore.CorruptionError):
        got.extend(iter(batches.__next__, None))
    assert records(got) == values(39)
    stream = pyarrow.RecordBatchReader.from_stream(walcore.read_arrow(log, mode="STRICT", batch_rows=16))
    assert sum(stream.read_next_batch().num_rows for _ in range(3)) == 39
    for _ in range(2):  # what comes after it must not look like the end
        with pytest.raises(pyarrow.ArrowInvalid, match=r"CorruptionError: corrupt_frame in .*wal-2.v1 at byte"):
            stream.read_next_batch()
    reader = walcore.read_arrow(log)
    with pytest.warns(walcore.WalDamageWarning, match="not complete"):
        assert table_of(reader).num_rows == 39
    assert not reader.report.complete


def test_salvage_puts_a_segment_without_header_where_its_lsns_place_it(log: Path) -> None:
    written = values(70)
    logs.write(log, "wal-3.v1", b"\0" * 8 + logs.plain(written[50:60], 3)[8:])
    logs.write(log, "wal-4.v1", logs.plain(written[60:], 4))
    for mode in ReadMode:
        same(log, mode, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert records(walcore.read_arrow(log, mode="SALVAGE").batches()) == written


def test_frames_that_come_again_behind_damage_of_a_sealed_segment_are_left_out(tmp_path: Path) -> None:
    written = values(6)
    damaged = bytearray(logs.mint(written[3]))
    damaged[30] ^= 1
    again = b"".join(map(logs.mint, [written[1], written[2], written[4], written[4], written[5]]))
    logs.write(tmp_path, "wal-1.v1.gz", logs.sealed(logs.plain(written[:3]) + bytes(damaged) + again, 18))
    assert same(tmp_path, ReadMode.SALVAGE, 2) == [*written[:3], *written[4:]]


def test_a_read_error_keeps_its_number(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise OSError(5, "broken")

    monkeypatch.setattr(walcore.system.calls, "preadv", fail)
    with pytest.raises(OSError, match=r"wal-1\.v1"):
        next(walcore.read_arrow(log).batches())
    with pytest.raises(OSError, match=r"OSError: \[Errno 5\]"):
        table_of(walcore.read_arrow(log))


def test_ctrl_c_while_a_consumer_reads_is_not_lost() -> None:
    def interrupted() -> Iterator[RecordBatch]:
        raise KeyboardInterrupt
        yield

    def read_and_wait() -> None:
        try:
            table_of(Streamed(interrupted()))
        finally:
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        read_and_wait()


def test_no_memory_is_told_as_such() -> None:
    def exhausted() -> Iterator[RecordBatch]:
        raise MemoryError
        yield

    with pytest.raises(pyarrow.ArrowMemoryError):
        table_of(Streamed(exhausted()))


class Untellable(Exception):
    def __str__(self) -> str:
        raise MemoryError


@pytest.mark.parametrize(
    "error", [OSError("a", "b"), OSError(2**40, "b"), Untellable()], ids=["no number", "too large", "no words"]
)
def test_an_error_that_cannot_be_told_is_no_end_either(log: Path, error: Exception) -> None:
    def batches() -> Iterator[RecordBatch]:
        yield from walcore.read_arrow(log).batches()
        raise error

    class Source:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return stream_capsule(batches())

    with pytest.raises((OSError, pyarrow.ArrowException)):
        pyarrow.RecordBatchReader.from_stream(Source()).read_all()


def test_no_batch_is_empty_where_the_first_record_can_not_be_taken(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "L", "a\ud800")
    with pytest.raises(walcore.InvalidRecordError):
        assert next(walcore.read_arrow(tmp_path).batches()) is None


def test_a_batch_that_nobody_filled_has_nothing() -> None:
    batch = RecordBatch.__new__(RecordBatch)
    assert len(batch) == 0
    with pytest.raises(TypeError, match="made by read_arrow"):
        batch.__arrow_c_array__()


def test_batches_may_be_given_back_by_any_thread(log: Path) -> None:
    tables = [table_of(walcore.read_arrow(log, batch_rows=3)) for _ in range(8)]
    expected = tables[0].to_pydict()

    def use(table: Any) -> None:
        assert table.to_pydict() == expected

    def lend() -> None:
        for _ in range(50):
            for batch in walcore.read_arrow(log, batch_rows=5).batches():
                pyarrow.record_batch(batch)

    threads = [threading.Thread(target=use, args=(tables.pop(),)) for _ in range(8)]
    threads += [threading.Thread(target=lend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- nothing is left ---------------------------------------------------------------------------------------------------


def consumed(reader: ArrowReader) -> None:
    table_of(reader)


def never_consumed(reader: ArrowReader) -> None:
    reader.__arrow_c_stream__()
    reader.__arrow_c_schema__()
    next(reader.batches()).__arrow_c_array__()


def half_consumed(reader: ArrowReader) -> None:
    stream = pyarrow.RecordBatchReader.from_stream(reader)
    stream.read_next_batch()


def moved_apart(reader: ArrowReader) -> None:
    batch = pyarrow.record_batch(next(reader.batches()))
    column = batch.column("kind").dictionary
    del batch
    assert column.to_pylist() == ["I", "B", "L", "N"]


def refused(reader: ArrowReader) -> None:
    with pytest.raises(pyarrow.ArrowInvalid):
        table_of(ArrowReader(reader.directory / "alone", batch_rows=5))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
@pytest.mark.parametrize("use", [consumed, never_consumed, half_consumed, moved_apart, refused])
def test_nothing_is_left_of_a_stream(log: Path, use: Callable[[ArrowReader], None]) -> None:
    logs.write(log / "alone", "wal-1.v1", logs.plain(values(9)) + logs.raw_frame(ALONE[0][1]))
    held = descriptors()
    reader = walcore.read_arrow(log, batch_rows=20)
    for _ in range(100):
        use(reader)
    before = resident()
    for _ in range(300):  # a batch takes 100 KiB
        use(reader)
    assert resident() - before < 8 * MIB
    assert descriptors() == held


def test_memory_is_that_of_a_batch_whatever_the_logs_size(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        for start in range(0, 200_000, 50_000):
            ids = range(start, start + 50_000)
            wal.log_mint_many(ids, "L", [f"{id:0300}" for id in ids], "urn:type")
    reader = walcore.read_arrow(tmp_path, batch_rows=1000)
    assert sum(map(len, reader.batches())) == 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(map(len, reader.batches())) == 200_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * MIB // 1024
