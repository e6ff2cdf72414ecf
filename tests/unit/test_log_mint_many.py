"""Many records by one call: columns or rows, LSNs in a row, and bad ones named by their index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import walcore
from walcore import ValueKind


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
