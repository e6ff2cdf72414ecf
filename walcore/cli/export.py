"""`walcore export`: the records of a log as columns, in a file for other programs."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

import click

from walcore.cli import DAMAGE, OK
from walcore.cli.files import write_file
from walcore.cli.options import as_json, log_directory, mode
from walcore.cli.output import count, talk, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from walcore.arrow import ArrowReader

# Of a row group: so many are in memory at a time, and Parquet compresses few rows badly.
GROUP_ROWS: Final = 256 * 1024


@click.command(short_help="Write the records as columns, to a Parquet file.")
@log_directory
@click.option("--parquet", "output", required=True, metavar="FILE", help="Parquet file to write.",
              type=click.Path(dir_okay=False))  # fmt: skip
@mode
@click.option("--surrogates", type=click.Choice(("error", "replace")), default="error", show_default=True,
              help="At a lone surrogate, which Parquet can't hold: fail, or write U+FFFD.")  # fmt: skip
@as_json
def command(wal: Path, output: str, mode: str, surrogates: str, as_json: bool) -> int:
    """Write the records of the log in DIR, oldest first, to FILE: a column for each field, no nulls.

    FILE appears when it is complete.  Works while a writer has the log open, and in constant memory.  Exit
    status 1 if damage was met; FILE then holds what could be read.  --json tells what was done, and each
    fault, as a row of JSON.

    \b
      walcore export store/wal --parquet values.parquet
      duckdb -c "select kind, count(*) from 'values.parquet' group by kind"
    """
    import functools
    from pathlib import Path

    import pyarrow.parquet  # noqa: F401 - missing, it is told before anything is read

    from walcore.arrow import read_arrow

    reader = read_arrow(wal, mode=mode.upper(), batch_rows=GROUP_ROWS, surrogates=surrogates)
    write_file(Path(output), functools.partial(_write, reader))
    return _write_rows(reader, output) if as_json else _show(reader, output)


def _write(reader: ArrowReader, file: IO[bytes]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetWriter(file, pa.schema(reader), compression="zstd") as writer:
        for batch in reader.batches():
            writer.write_batch(pa.record_batch(batch))


def _write_rows(reader: ArrowReader, output: str) -> int:
    from walcore.cli.damage import fault_row

    report = reader.report
    write_json({
        "what": "export",
        "directory": str(reader.directory),
        "output": output,
        "records": report.records,
        "complete": report.complete,
    })  # fmt: skip
    for fault in report.faults:
        write_json(fault_row(fault))
    return OK if report.complete else DAMAGE


def _show(reader: ArrowReader, output: str) -> int:
    from walcore.cli.damage import show_damage

    talk(f"{count(reader.report.records, 'record')} written to {output}")
    return show_damage(reader.report)
