"""What Arrow lends to log_mint_many is taken once, and given back."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from arrows import logged, pyarrow, rows_of, table_of
from resources import resident

import walcore
from walcore import InvalidRecordError

MIB = 1024 * 1024


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
