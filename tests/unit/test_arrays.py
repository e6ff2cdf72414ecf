"""log_mint_many of Arrow arrays, tables and buffers of integers: what is logged."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrows import TEXT_TYPES, logged, pyarrow, records, rows_of, strings, table_of
from hypothesis import given, settings
from hypothesis import strategies as st

import walcore
from walcore import Record

TEXTS = ["plain", "", 'quoted "\\\n\x00\x7f', "Zürich ☃", "\U0001f600 x \U0001f600", "twelve bytes", "x" * 300]


@pytest.mark.parametrize("form", TEXT_TYPES)
def test_every_kind_of_text_is_logged_as_the_str_would_be(tmp_path: Path, form: str) -> None:
    count = len(TEXTS)
    kinds = ["L"] * count
    languages = TEXTS[::-1]
    with walcore.open(tmp_path / "objects", store_uuid="1" * 32) as wal:
        wal.log_mint_many(range(count), kinds, TEXTS, TEXTS, languages, range(count))
    with walcore.open(tmp_path / "arrays", store_uuid="1" * 32) as wal:
        columns = [strings(values, form) for values in (kinds, TEXTS, TEXTS, languages)]
        assert wal.log_mint_many(np.arange(count), *columns, pyarrow.array(range(count))) == (1, count)
    assert logged(tmp_path / "arrays") == logged(tmp_path / "objects")
    frames = [next(folder.glob("wal-*.v1")).read_bytes().partition(b"\n")[2][4:] for folder in tmp_path.iterdir()]
    assert frames[0] == frames[1]


@pytest.mark.parametrize("code", "bhilqBHILQ")
def test_every_kind_of_integer_is_taken_where_it_lies(tmp_path: Path, code: str) -> None:
    numbers = np.array([0, 1, 5, 7, 100, 3], dtype=code)
    with walcore.open(tmp_path) as wal:
        wal.log_mint_many(numbers, "I", "x", hashes=numbers[::-1])
        wal.log_mint_many(numbers[1::2], "I", "x", hashes=pyarrow.array(numbers)[3:])
        wal.log_mint_many(array(code, numbers.tolist()), "I", pyarrow.array(["y"] * 6))
        wal.log_mint_many(numbers, "I", ["z"] * 6, hashes=pyarrow.array(numbers))
        if code.islower():
            wal.log_mint_many(-numbers, "I", "x")
    rows = [(row[0], row[5]) for row in logged(tmp_path)]
    listed = numbers.tolist()
    assert rows[:9] == [*zip(listed, listed[::-1], strict=True), *zip(listed[1::2], listed[3:], strict=True)]
    assert rows[9:21] == [*((one, 0) for one in listed), *zip(listed, listed, strict=True)]
    assert rows[21:] == [(-one, 0) for one in listed if code.islower()]


@pytest.mark.parametrize("limits", [("B", 0, 255), ("H", 0, 65535), ("b", -128, 127), ("h", -32768, 32767)])
@pytest.mark.parametrize("make", [np.asarray, pyarrow.array])
def test_the_least_and_the_greatest_integer_of_a_type_are_logged(
    tmp_path: Path, limits: tuple[str, int, int], make: Callable[[Any], Any]
) -> None:
    code, *ends = limits
    with walcore.open(tmp_path) as wal:
        wal.log_mint_many(make(np.array(ends, dtype=code)), "I", "x")
        for wide in "ilq":
            wal.log_mint_many(make(np.array([-(2**31), 2**31 - 1], dtype=wide)), "I", "x")
        wal.log_mint_many(make(np.array([2**31 - 1], dtype="I")), "I", "x")
    assert [row[0] for row in logged(tmp_path)] == [*ends, *[-(2**31), 2**31 - 1] * 3, 2**31 - 1]


def as_polars(table: Any) -> Any:
    return pytest.importorskip("polars").DataFrame(table)


def as_duckdb(table: Any) -> Any:
    return pytest.importorskip("duckdb").sql("select * from table")


def structs(table: Any) -> Any:
    (batch,) = table.combine_chunks().to_batches()
    return pyarrow.StructArray.from_arrays(batch.columns, names=batch.schema.names)


TAKEN: list[Callable[[Any], Any]] = [
    lambda table: table,
    lambda table: table.to_reader(max_chunksize=7),
    lambda table: pyarrow.concat_tables([table[:3], table[3:3], table[3:50], table[50:]]),
    lambda table: table.combine_chunks().to_batches()[0],
    lambda table: pyarrow.concat_arrays([structs(table)] * 2)[len(table) :],
    as_polars,
]  # fmt: skip


@pytest.mark.parametrize("take", TAKEN)
@pytest.mark.parametrize("buffer", [4200, 1 << 20])
def test_a_table_is_logged_by_the_names_of_its_columns(tmp_path: Path, take: Callable[[Any], Any], buffer: int) -> None:
    table = table_of(100)
    with walcore.open(tmp_path, batch_buffer_bytes=buffer) as wal:
        wal.log_mint(7, "I", "first")
        assert wal.log_mint_many(take(table)) == (2, 101)
    assert logged(tmp_path)[1:] == rows_of(table)


def test_a_log_read_as_arrow_can_be_logged_again(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "a") as wal:
        wal.log_mint_many(table_of(1000))
    with walcore.open(tmp_path / "b") as wal:
        wal.log_mint(1, "I", "first")
        assert wal.log_mint_many(walcore.read_arrow(tmp_path / "a", batch_rows=64)) == (2, 1001)
        assert wal.log_mint_many(next(walcore.read_arrow(tmp_path / "a").batches())) == (1002, 2001)
    assert logged(tmp_path / "b")[1:] == 2 * logged(tmp_path / "a")


def test_columns_may_be_cut_differently_and_mixed_with_sequences(tmp_path: Path) -> None:
    table = table_of(5000)
    lexical, kind = table["lexical"].combine_chunks(), table["kind"].combine_chunks()
    lexicals = pyarrow.chunked_array([lexical[:10], lexical[10:10], lexical[10:]])
    kinds = pyarrow.chunked_array([kind[:2500], kind[2500:]])
    ids = np.arange(5000)
    with walcore.open(tmp_path / "arrays", batch_buffer_bytes=8192) as wal:
        wal.log_mint_many(ids, kinds, lexicals, table["datatype"], "", table["hash"])
    with walcore.open(tmp_path / "mixed", batch_buffer_bytes=8192) as wal:
        wal.log_mint_many(list(ids), kinds, lexicals, table["datatype"].to_pylist(), "", table["hash"])
    assert logged(tmp_path / "arrays") == logged(tmp_path / "mixed") == rows_of(table)


def test_columns_cut_in_different_places_are_read_to_the_end_of_each_piece(tmp_path: Path) -> None:
    def cut(values: list[Any], size: int) -> Any:
        # An array of its own each: what lies behind one isn't the next.
        return pyarrow.chunked_array([pyarrow.array(values[at : at + size]) for at in range(0, len(values), size)])

    count = 100
    columns: list[list[Any]] = [
        list(range(count)), ["L"] * count, [f"lexical {n}" for n in range(count)], [f"urn:{n}" for n in range(count)],
        [f"l{n}" for n in range(count)], [-n for n in range(count)],
    ]  # fmt: skip
    with walcore.open(tmp_path) as wal:
        wal.log_mint_many(*map(cut, columns, (7, 100, 3, 11, 50, 1)))
        wal.log_mint_many(*map(cut, columns, (1, 2, 40, 40, 9, 33)))
    assert logged(tmp_path) == [*zip(*columns, strict=True)] * 2


def test_a_stream_goes_on_behind_batches_without_rows(tmp_path: Path) -> None:
    table = table_of(6)
    (batch,) = table.combine_chunks().to_batches()
    stream = pyarrow.RecordBatchReader.from_batches(
        batch.schema, [batch[:0], batch[:0], batch[:2], batch[:0], batch[2:]]
    )
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many(stream) == (1, 6)
    assert logged(tmp_path) == rows_of(table)


def test_no_rows_is_no_lsn(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "x")
        for nothing in (table_of(0), table_of(0).to_reader(), table_of(10)[10:]):
            assert wal.log_mint_many(nothing) == (2, 1)
        assert wal.log_mint_many(np.array([], "int32"), "I", pyarrow.array([], "utf8")) == (2, 1)


@pytest.mark.parametrize("form", TEXT_TYPES)
def test_a_part_of_a_struct_array_is_logged_from_its_own_first_row(tmp_path: Path, form: str) -> None:
    table = table_of(40)
    for name in ("lexical", "datatype"):
        column = strings(table[name].to_pylist(), form)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    part = structs(table)[13:]
    assert part.offset == 13
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many(part) == (1, 27)
    assert logged(tmp_path) == rows_of(table[13:])


def test_a_record_larger_than_the_buffer_is_logged(tmp_path: Path) -> None:
    large = "é\n\U0001f600" * 20_000
    with walcore.open(tmp_path, batch_buffer_bytes=8192) as wal:
        wal.log_mint_many(np.arange(3), "I", pyarrow.array(["a", large, "b"]))
    assert [row[2] for row in logged(tmp_path)] == ["a", large, "b"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ROW = st.tuples(st.integers(-(2**31), 2**31 - 1), TEXT, TEXT, TEXT, st.integers(-(2**31), 2**31 - 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30), st.sampled_from(TEXT_TYPES), st.integers(0, 5))
def test_any_table_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str, str, int]], form: str, cut: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    ids, lexicals, datatypes, languages, hashes = map(list, zip(*rows, strict=True))
    table = pyarrow.table(
        {
            "id": ids, "kind": strings(["L"] * len(ids), form), "lexical": strings(lexicals, form),
            "datatype": strings(datatypes, form), "language": strings(languages, form), "hash": hashes,
        }
    )[cut:]  # fmt: skip
    with walcore.open(directory, batch_buffer_bytes=4200) as wal:
        wal.log_mint_many(table)
    expected = [Record(n, i, "L", x, d, la, h) for n, (i, x, d, la, h) in enumerate(rows[cut:], 1)]
    assert records(walcore.read_arrow(directory).batches()) == expected


@pytest.mark.parametrize("name", ["hashes", "ids"])
def test_one_number_that_is_no_int_stands_for_all_rows_beside_arrays_too(tmp_path: Path, name: str) -> None:
    columns = {"ids": np.array([1, 2]), "kinds": "I", "lexicals": pyarrow.array(["a", "b"])}
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many(**columns | {name: np.int32(7)}) == (1, 2)
    assert [getattr(one, {"hashes": "hash", "ids": "id"}[name]) for one in walcore.read(tmp_path)] == [7, 7]
