"""Arrays that log_mint_many refuses, as a whole or for a row, and how it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrows import TEXT_TYPES, logged, pyarrow, strings, table_of

import walcore
from walcore import InvalidRecordError

MIB = 1024 * 1024


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


def test_a_number_too_large_is_told_as_it_is(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        for number, words in ((2**63 - 1, str(2**63 - 1)), (2**63, "an int of 64 bits"), (2**64 - 1, "64 bits")):
            for values in (pyarrow.array([number], pyarrow.uint64()), np.array([number], np.uint64)):
                with pytest.raises(InvalidRecordError, match=words):
                    wal.log_mint_many(values, "I", "a")
