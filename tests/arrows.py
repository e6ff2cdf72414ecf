"""Arrays and tables to be logged; and what read_arrow gives, as Records again, beside what read gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import walcore
from walcore.arrow import read_arrow
from walcore.reader import ReadMode, Report, read
from walcore.record import Record

pyarrow: Any = pytest.importorskip("pyarrow", reason="reads the batches: pip install pyarrow")
FIELDS = Record.__match_args__
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


def records(batches: Iterable[Any]) -> list[Record]:
    """The rows of batches, or of chunks, or of one table."""
    found = []
    for batch in batches:
        made = pyarrow.record_batch(batch)
        made.validate(full=True)
        columns = made.to_pydict()
        assert tuple(columns) == FIELDS
        found += [Record(*row) for row in zip(*columns.values(), strict=True)]
    return found


def outcome(reader: Any, items: Iterable[Any]) -> tuple[list[Any], Report, str]:
    """All of `items`, the report, and what was raised or warned of."""
    got = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            got.extend(items)
            said = ""
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
    return got, reader.report, said + "".join(str(one.message) for one in caught)


def same(directory: Path, mode: ReadMode, batch_rows: int = 3) -> list[Record]:
    """Read both ways, which must give the same rows, report and words; the rows."""
    reader, arrow = read(directory, mode=mode), read_arrow(directory, mode=mode, batch_rows=batch_rows)
    expected, report, said = outcome(reader, reader)
    batches, arrow_report, arrow_said = outcome(arrow, arrow.batches())
    found = records(batches)
    assert found == expected, mode
    assert (arrow_report, arrow_said) == (report, said), mode
    assert all(len(batch) == batch_rows for batch in batches[:-1])
    assert all(1 <= len(batch) <= batch_rows for batch in batches[-1:])
    return found
