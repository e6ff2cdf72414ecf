"""log_mint_many of Arrow arrays, tables and buffers of integers: what is logged, and how a bad row is told."""

from __future__ import annotations

import gc
import resource
import weakref
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrows import pyarrow, records
from hypothesis import given, settings
from hypothesis import strategies as st

import walcore
from walcore import InvalidRecordError, Record

MIB = 1024 * 1024
TEXTS = ["plain", "", 'quoted "\\\n\x00\x7f', "Zürich ☃", "\U0001f600 x \U0001f600", "twelve bytes", "x" * 300]
TEXT_TYPES = ["utf8", "large_utf8", "utf8_view", "coded", "coded_large"]


def strings(values: list[str | None], form: str) -> Any:
    if form == "utf8_view":
        return pyarrow.array(values, pyarrow.string_view())
    if form.startswith("coded"):
        index = pyarrow.int8() if form == "coded" else pyarrow.uint32()
        return pyarrow.array(values, pyarrow.large_utf8()).dictionary_encode().cast(
            pyarrow.dictionary(index, pyarrow.large_utf8() if form == "coded_large" else pyarrow.utf8())
        )  # fmt: skip
    return pyarrow.array(values, form if form != "large_utf8" else pyarrow.large_utf8())


def logged(wal: Path) -> list[tuple[Any, ...]]:
    return [(r.id, str(r.kind), r.lexical, r.datatype, r.language, r.hash) for r in walcore.read(wal)]


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


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("I", 2**31),
        ("I", 2**32 - 1),
        ("L", 2**31),
        ("L", 2**63 + 5),
        ("L", 2**64 - 1),
        ("l", 2**31),
        ("l", -(2**31) - 1),
    ],
)
def test_an_integer_above_32_bits_is_refused_and_never_cut_off(tmp_path: Path, code: str, number: int) -> None:
    wrong = np.array([1, number], dtype=code)
    with walcore.open(tmp_path) as wal:
        for numbers in (wrong, pyarrow.array(wrong)):
            for ids, hashes in ((numbers, 0), (0, numbers), ([1, 2], numbers)):
                with pytest.raises(InvalidRecordError, match="row 1: "):
                    wal.log_mint_many(ids, "I", pyarrow.array(["x", "y"]), hashes=hashes)
        assert wal.last_lsn == 0


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


def table_of(rows: int) -> Any:
    return pyarrow.table(
        {
            "id": pyarrow.array(range(rows), pyarrow.int64()),
            "kind": pyarrow.array(["L", "I"] * (rows // 2), "utf8").dictionary_encode(),
            "lexical": pyarrow.array([f"é{row}" for row in range(rows)], "utf8"),
            "datatype": pyarrow.array([f"urn:{row // 10}" if row % 2 == 0 else "" for row in range(rows)], "utf8"),
            "hash": pyarrow.array([-row for row in range(rows)], pyarrow.int32()),
        }
    )


def rows_of(table: Any) -> list[tuple[Any, ...]]:
    return [
        (row["id"], row["kind"], row["lexical"], row["datatype"], row.get("language", ""), row["hash"])
        for row in table.to_pylist()
    ]


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


def coded(indices: list[int], values: list[str | None]) -> Any:
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(indices, "int32"), pyarrow.array(values), safe=False)


def broken(values: list[bytes]) -> Any:
    return pyarrow.array(values, "binary").view("utf8")


ODD = [
    (([1, 2, None], "I", "x"), InvalidRecordError, 2, "id is null"),
    (([1, 2, 2**31], "I", "x"), InvalidRecordError, 2, "id must fit"),
    ((pyarrow.array([1, 2**64 - 1], "uint64"), "I", "x"), InvalidRecordError, 1, "id must fit"),
    (([1, 2], ["I", None], "x"), InvalidRecordError, 1, "kind is null"),
    (([1, 2], ["I", "Literal"], "x"), InvalidRecordError, 1, "kind must be"),
    (([1, 2], ["I", ""], "x"), InvalidRecordError, 1, "kind must be"),
    (([1, 2], ["I", "é"], "x"), InvalidRecordError, 1, "kind must be"),
    (([1, 2], "I", ["a", None]), InvalidRecordError, 1, "lexical is null"),
    (([1, 2], "I", broken([b"a", b"\xff"])), InvalidRecordError, 1, "lexical is not valid UTF-8"),
    (([1, 2], "I", broken([b"a", b"alone: \xed\xa0\x80"])), InvalidRecordError, 1, "lexical is not valid UTF-8"),
    (([1, 2], "L", "x", [None, ""]), InvalidRecordError, 0, "datatype is null"),
    (([1, 2], "L", "x", coded([0, 1], ["", None])), InvalidRecordError, 1, "datatype is null"),
    (([1, 2], "L", "x", coded([0, 2], ["", "urn:t"])), InvalidRecordError, 1, "outside of its dictionary"),
    (([1, 2], "L", "x", coded([0, -1], ["", "urn:t"])), InvalidRecordError, 1, "outside of its dictionary"),
    (([1, 2], ["L", "I"], "x", "urn:t"), InvalidRecordError, 1, "belongs to a literal"),
    (([1, 2], "I", "x", "", ["", "en"]), InvalidRecordError, 1, "belongs to a literal"),
    (([1, 2], "L", "x", "", "", [1, None]), InvalidRecordError, 1, "hash is null"),
    (([1, 2], "L", "x", "", "", 2**40), InvalidRecordError, 0, "hash must fit"),
    (([1, 2], "X", "x"), InvalidRecordError, 0, "kind must be"),
]  # fmt: skip


def as_arrays(arguments: tuple[Any, ...]) -> list[Any]:
    return [pyarrow.array(one) if isinstance(one, list) else one for one in arguments]


@pytest.mark.parametrize(("arguments", "error", "row", "words"), ODD)
def test_a_bad_row_is_named_and_nothing_of_its_slice_is_logged(
    tmp_path: Path, arguments: tuple[Any, ...], error: type[Exception], row: int, words: str
) -> None:
    with walcore.open(tmp_path) as wal:
        with pytest.raises(error, match=rf"row {row}: .*{words}") as caught:
            wal.log_mint_many(*as_arrays(arguments))
        assert wal.last_lsn == 0
        if isinstance(caught.value, InvalidRecordError):
            assert caught.value.row == row
            assert caught.value.field
            assert caught.value.field in str(caught.value)
        columns = [*as_arrays(arguments), *["", "", 0][len(arguments) - 3 :]]
        beside = 5 if "id" in words else 0
        columns[beside] = [0] * len(arguments[0])  # a sequence of objects beside the arrays
        with pytest.raises(error, match=rf"row {row}: .*{words}"):
            wal.log_mint_many(*columns)
        assert wal.last_lsn == 0


@pytest.mark.parametrize("form", TEXT_TYPES)
@pytest.mark.parametrize("kind", ["X", "l", "", "LL", "é", "\0", "M"])
def test_a_kind_that_is_none_of_the_four_is_refused(tmp_path: Path, form: str, kind: str) -> None:
    kinds = strings(["I", "B", "L", "N", kind], form)
    with walcore.open(tmp_path) as wal:
        with pytest.raises(InvalidRecordError, match="row 4: ") as caught:
            wal.log_mint_many(np.arange(5), kinds, "x")
        assert (caught.value.field, wal.last_lsn) == ("kind", 0)
        wal.log_mint_many(np.arange(4), kinds[:4], "x")
    assert [row[1] for row in logged(tmp_path)] == ["I", "B", "L", "N"]


def test_a_record_above_the_limit_is_refused_by_its_row(tmp_path: Path) -> None:
    # Each control character takes six bytes; all together they are above 512 MiB, none of them alone.
    half = "\x01" * (46 * MIB)
    ids, lexicals = np.arange(2), pyarrow.array(["x", half], pyarrow.large_utf8())
    with walcore.open(tmp_path) as wal:
        with pytest.raises(walcore.RecordTooLargeError, match="row 1: "):
            wal.log_mint_many(ids, "L", lexicals, half)
        assert wal.last_lsn == 0


def test_a_row_of_a_table_may_be_null_as_a_whole(tmp_path: Path) -> None:
    (batch,) = table_of(4).combine_chunks().to_batches()
    rows = pyarrow.StructArray.from_arrays(
        batch.columns, names=batch.schema.names, mask=pyarrow.array([False, False, True, False])
    )
    with walcore.open(tmp_path) as wal, pytest.raises(InvalidRecordError, match="row 2: id is null"):
        wal.log_mint_many(rows)


@pytest.mark.parametrize("form", [*TEXT_TYPES, "integers", "column"])
def test_a_null_is_told_where_it_lies_in_a_part_of_an_array(tmp_path: Path, form: str) -> None:
    count = 20
    texts: list[str | None] = [f"t{row}" for row in range(count)]
    numbers: list[int | None] = [*range(count)]
    (numbers if form == "integers" else texts)[13] = None
    ids = pyarrow.array(numbers, pyarrow.int32())
    lexicals = strings(texts, form if form in TEXT_TYPES else "utf8")
    with walcore.open(tmp_path) as wal:
        if form == "column":
            part = pyarrow.table({"id": ids, "kind": ["L"] * count, "lexical": lexicals}).combine_chunks()[3:18]
            sound = part[:10]
            with pytest.raises(InvalidRecordError, match="row 10: lexical is null"):
                wal.log_mint_many(part)
            wal.log_mint_many(sound)
        else:
            with pytest.raises(
                InvalidRecordError, match=f"row 10: {'id' if form == 'integers' else 'lexical'} is null"
            ):
                wal.log_mint_many(ids[3:18], "L", lexicals[3:18])
            # What is null lies behind.
            wal.log_mint_many(ids[3:13], "L", lexicals[3:13])
    assert [row[0] for row in logged(tmp_path)] == list(range(3, 13))
    assert [row[2] for row in logged(tmp_path)] == [f"t{row}" for row in range(3, 13)]


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


@pytest.mark.parametrize("field", ["id", "lexical", None])
def test_a_null_in_a_part_of_a_struct_array_is_told_by_its_row_there(tmp_path: Path, field: str | None) -> None:
    columns = {"id": [*range(40)], "kind": ["I"] * 40, "lexical": ["x"] * 40}
    if field:
        columns[field][22] = None  # type: ignore[call-overload]
    mask = pyarrow.array([field is None and row == 22 for row in range(40)])
    arrays = [pyarrow.array(column) for column in columns.values()]
    whole = pyarrow.StructArray.from_arrays(arrays, names=list(columns), mask=mask)
    with walcore.open(tmp_path) as wal:
        with pytest.raises(InvalidRecordError, match=f"row 9: {field or 'id'} is null"):
            wal.log_mint_many(whole[13:])
        assert wal.log_mint_many(whole[13:22]) == (1, 9)
    assert [row[0] for row in logged(tmp_path)] == [*range(13, 22)]


def test_a_bad_row_of_a_later_slice_leaves_the_earlier_ones_and_says_so(tmp_path: Path) -> None:
    lexicals = pyarrow.array(["x" * 100] * 1000 + [None])
    with walcore.open(tmp_path, batch_buffer_bytes=8192) as wal:
        with pytest.raises(InvalidRecordError, match="row 1000") as caught:
            wal.log_mint_many(np.arange(1001), "I", lexicals)
        assert caught.value.row == 1000
        assert (caught.value.first_lsn, caught.value.last_lsn) == (1, wal.last_lsn)
        assert 900 < wal.last_lsn < 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((pyarrow.array([1.5]), "I", "x"), r"ids must be an array of integers, not .* 'g'"),
        ((1, "I", pyarrow.array([1])), r"lexicals must be an array of strings, not .* 'l'"),
        ((1, "I", pyarrow.array([b"x"])), r"lexicals must be an array of strings, not .* 'z'"),
        ((pyarrow.array(["1"]).dictionary_encode(), "I", "x"), "ids must be"),
        ((pyarrow.array([1]),), "takes an Arrow table or record batch"),
        ((pyarrow.table({"id": [1], "kind": ["I"]}),), "no column lexical"),
        ((pyarrow.table({"id": [1], "kind": ["I"], "lexical": ["x"], "lang": [""]}),), "a column lang"),
        ((pyarrow.table({"id": [1], "kind": ["I"], "lexical": [5]}),), "lexical must be an array of strings"),
        ((pyarrow.table([[1], [2], ["I"], ["x"]], names=["id", "id", "kind", "lexical"]),), "more than one column id"),
    ],
)
def test_arrays_of_the_wrong_type_are_refused(tmp_path: Path, arguments: tuple[Any, ...], words: str) -> None:
    with walcore.open(tmp_path) as wal:
        with pytest.raises(TypeError, match=words):
            wal.log_mint_many(*arguments)
        assert wal.last_lsn == 0


def test_arrays_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal, pytest.raises(InvalidRecordError, match="lexicals has 3"):
        wal.log_mint_many(np.arange(2), "I", pyarrow.array(["a", "b", "c"]))


def test_a_stream_that_fails_says_why_and_what_was_logged(tmp_path: Path) -> None:
    table = table_of(10)

    def batches(error: Exception) -> Any:
        yield from table.to_batches()
        raise error

    with walcore.open(tmp_path, batch_buffer_bytes=4200) as wal:
        for error, kind in ((ValueError("gone"), ValueError), (OSError(5, "gone"), OSError)):
            reader = pyarrow.RecordBatchReader.from_batches(table.schema, batches(error))
            with pytest.raises(kind, match="gone"):
                wal.log_mint_many(reader)
        damaged = walcore.read_arrow(tmp_path)
        assert damaged


def test_a_record_larger_than_the_buffer_is_logged(tmp_path: Path) -> None:
    large = "é\n\U0001f600" * 20_000
    with walcore.open(tmp_path, batch_buffer_bytes=8192) as wal:
        wal.log_mint_many(np.arange(3), "I", pyarrow.array(["a", large, "b"]))
    assert [row[2] for row in logged(tmp_path)] == ["a", large, "b"]


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_types_and_streams_that_were_lent_are_given_back(tmp_path: Path) -> None:
    class Batches:
        """Pyarrow lets go of it when the stream made of it is given back, if it didn't come to its end."""

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return pyarrow.record_batch({"id": pyarrow.array([None], "int32"), "kind": ["I"], "lexical": ["x"]})

    batches = Batches()
    stream = pyarrow.RecordBatchReader.from_batches(next(batches).schema, batches)
    kept = weakref.ref(batches)
    del batches
    # A copy of it comes with every schema that is lent.
    described = table_of(2).replace_schema_metadata({"about": "x" * MIB})
    refused = described.rename_columns(["id", "kind", "lexical", "datatype", "other"])
    with walcore.open(tmp_path) as wal:
        with pytest.raises(InvalidRecordError, match="row 0: id is null"):
            wal.log_mint_many(stream)
        del stream
        gc.collect()
        assert kept() is None
        before = resident()
        for _ in range(60):
            wal.log_mint_many(described)
            wal.log_mint_many(described.to_batches()[0])
            with pytest.raises(TypeError):
                wal.log_mint_many(refused)
        assert resident() - before < 30 * MIB


def test_what_was_lent_is_given_back(tmp_path: Path) -> None:
    table = table_of(2000)

    def use() -> None:
        wal.log_mint_many(table.to_reader(max_chunksize=100))
        wal.log_mint_many(pyarrow.array(range(2000)), "I", pyarrow.array([f"{n:0100}" for n in range(2000)]))
        with pytest.raises(InvalidRecordError):
            wal.log_mint_many(table["id"], "X", table["lexical"])

    with walcore.open(tmp_path) as wal:
        for _ in range(20):
            use()
        before, held = resident(), pyarrow.total_allocated_bytes()
        for _ in range(60):
            use()
        assert pyarrow.total_allocated_bytes() - held < 1 << 20
        assert resident() - before < 8 << 20


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


class Once:
    """Gives one and the same capsule however often it is asked."""

    def __init__(self, call: str, given: Any) -> None:
        setattr(self, call, lambda requested_schema=None: given)


@pytest.mark.parametrize("call", ["__arrow_c_stream__", "__arrow_c_array__"])
def test_what_somebody_took_before_is_refused(tmp_path: Path, call: str) -> None:
    table = table_of(4)
    given = table if call == "__arrow_c_stream__" else table.combine_chunks().to_batches()[0]
    once = Once(call, getattr(given, call)())
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint_many(once) == (1, 4)
        with pytest.raises(ValueError, match="taken by somebody else before"):
            wal.log_mint_many(once)
    assert logged(tmp_path) == rows_of(table)


def test_a_number_too_large_is_told_as_it_is(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        for number, words in ((2**63 - 1, str(2**63 - 1)), (2**63, "an int of 64 bits"), (2**64 - 1, "64 bits")):
            for values in (pyarrow.array([number], pyarrow.uint64()), np.array([number], np.uint64)):
                with pytest.raises(InvalidRecordError, match=words):
                    wal.log_mint_many(values, "I", "a")
