"""Reading a log as columns: record batches of Apache Arrow in place of Record objects.

No Arrow library is needed here: the batches are made in the compiled core, and whatever knows the Arrow PyCapsule
interface (pyarrow, Polars, DuckDB, ...) takes them as they lie in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from walcore._core.arrow import Appender, RecordBatch, schema_capsule, stream_capsule
from walcore.reader import Pass, ReadMode, Report, read_mode
from walcore.segments import Directory

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

BATCH_ROWS: Final = 65_536
# Offsets into a batch's text have 31 bits; a single record has half a gigabyte at most.
_MAX_BATCH_TEXT: Final = 64 * 1024 * 1024


class ArrowReader:
    """The records of a log as Arrow record batches; each `batches()`, or consumer, makes a pass of its own.

    Give it to `pyarrow.RecordBatchReader.from_stream`, `polars.DataFrame`, or a DuckDB query by its name.  The columns
    are the fields of Record, without nulls: `lsn` int64, `id` int32, `kind` dictionary<int8, utf8> of the letters,
    `lexical` utf8, `datatype` and `language` dictionary<int32, utf8>, `hash` int32.  A batch has dictionaries of its
    own.  A pass takes memory for one batch, whatever the log's size; `report` tells of the latest, counting what was
    read, which is up to one batch ahead.

    Args:
        directory: the log's folder.
        mode: a ReadMode or its name, as for `read`.
        batch_rows: rows of a batch, at least 1; fewer where their text would be above 64 MiB, and in the last one.
        surrogates: what to do about a lone surrogate, which RDF4J can write and UTF-8 cannot: "error" or "replace",
            which makes it U+FFFD.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: `mode`, `batch_rows` or `surrogates` is not what may be given.
        CorruptionError: while iterating in mode STRICT, at the first fault.
        InvalidRecordError: while iterating, at a lone surrogate; the message names the LSN.
        OSError: while iterating, when reading fails; never taken for the end.

    What is raised while iterating comes behind the records before it.  A consumer of the stream makes an exception of
    its own of it, with this one's name and message.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        mode: ReadMode | str = ReadMode.SEGMENT,
        batch_rows: int = BATCH_ROWS,
        surrogates: str = "error",
    ) -> None:
        if batch_rows < 1:
            msg = f"batch_rows must be 1 or more, got {batch_rows}"
            raise ValueError(msg)
        if surrogates not in ("error", "replace"):
            msg = f"surrogates must be error or replace, got {surrogates!r}"
            raise ValueError(msg)
        self.directory = Path(directory)
        self.mode = read_mode(mode)
        self.batch_rows = batch_rows
        self.surrogates = surrogates
        Directory(self.directory).close()
        self._pass = Pass(self.directory, self.mode)

    def batches(self) -> Iterator[RecordBatch]:
        """A new pass that yields its batches, none of them empty."""
        appender = Appender(self.batch_rows, _MAX_BATCH_TEXT, self.surrogates == "replace")
        self._pass = Pass(self.directory, self.mode, appender, ahead=True)
        return self._batches(self._pass, appender)

    @staticmethod
    def _batches(current: Pass, appender: Appender) -> Iterator[RecordBatch]:
        try:
            for _, lot in current.lots():
                for record in lot if isinstance(lot, list) else ():
                    appender.append(record)
                yield from appender.take()
        except Exception:
            yield from appender.take(begun=True)
            raise
        yield from appender.take(begun=True)
        current.warn()

    @property
    def report(self) -> Report:
        """What the latest pass has met so far."""
        return self._pass.report()

    def __arrow_c_schema__(self) -> object:
        """The columns' names and types, for consumers of the Arrow PyCapsule interface."""
        return schema_capsule()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A new pass, for such consumers; the types are what they are, whatever is requested."""
        return stream_capsule(self.batches())

    def __repr__(self) -> str:
        return f"ArrowReader({str(self.directory)!r}, mode={self.mode.value!r})"


def read_arrow(
    directory: str | os.PathLike[str],
    *,
    mode: ReadMode | str = ReadMode.SEGMENT,
    batch_rows: int = BATCH_ROWS,
    surrogates: str = "error",
) -> ArrowReader:
    """Read the log in `directory` as Arrow record batches, in the order of the log, with a `report`.

    In the modes SEGMENT and SALVAGE a pass ends with one WalDamageWarning if the log isn't complete.  Sealed segments
    are unpacked by a thread meanwhile, which takes 5 MiB and ends with the pass.  See `ArrowReader` for the columns,
    the arguments and the errors raised.
    """
    return ArrowReader(directory, mode, batch_rows, surrogates)
