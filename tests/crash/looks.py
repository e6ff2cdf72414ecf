"""Everything that reads a log, while calls fail: a read error is told, and is never taken for the end of anything.

Each look at a scene has a result without a fault.  With one it must raise an error that names file and cause, or have
the same result; only where a file may not be opened (EACCES) may it be another one, that says that it isn't complete.
An opening that a fault cut off has changed nothing that the next one, without a fault, doesn't do as well: both
directories end with the same names and the same bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import life
import player

import walcore
from walcore import segments

Look = Callable[[Path], tuple[Any, bool]]
"""What is found in a log, and whether it says that this is all."""


# --- scenes ----------------------------------------------------------------------------------------------------------


def crashed(log: Path) -> None:
    life.beginning(log)


def purging(log: Path) -> None:
    """A purge whose marker is there, and some of its files."""
    life.beginning(log)
    with walcore.open(log, **player.SETTINGS) as wal:
        store = wal.store_uuid
    with segments.Directory(log) as directory:
        listed = directory.segments()
        headed = frozenset((one.name, one.header.number, one.header.crc) for one in listed if one.header)
        directory.write_marker(segments.PurgeMarker(life.OLD + 9, store, headed, frozenset()))
        directory.delete(listed[-1])


def disordered(log: Path) -> None:
    """Twins plain and sealed, a sealed one with a broken twin, an empty one, no state, a quarantine, an old tear."""
    life.beginning(log)
    with walcore.open(log, **player.SETTINGS) as wal:
        wal.commit(wal.log_mint(*player.fields(life.OLD + 1)))
    plain = {one.name: one for one in segments.list_segments(log) if one.sealed}
    for number, one in enumerate(plain.values()):
        content = gzip.decompress(one.path.read_bytes())
        summary = content.rindex(b'{"t":"S"') - 4
        (log / one.name.removesuffix(".gz")).write_bytes(content[: summary - 40 * number])
    (log / "wal-77.v1").write_bytes(b"")
    (log / "wal-78.v1").write_bytes(bytes(512))
    (log / "walcore.state").unlink()


def damaged(log: Path) -> None:
    """A flipped bit in a plain segment that the state vouches for."""
    life.beginning(log)
    with walcore.open(log, **player.SETTINGS):
        pass
    sealed = min(log.glob("*.gz"))
    content = bytearray(sealed.read_bytes())
    content[len(content) // 2] ^= 4
    sealed.write_bytes(content)


SCENES: dict[str, Callable[[Path], None]] = {
    "crashed": crashed, "purging": purging, "disordered": disordered, "damaged": damaged, "live": crashed,
}  # fmt: skip
LOCKED = "live"
"""The scene at which a writer is at work: an unfinished frame is the end, no fault."""


# --- looks -----------------------------------------------------------------------------------------------------------


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reading(mode: str) -> Look:
    def look(log: Path) -> tuple[Any, bool]:
        reader = walcore.read(log, mode=mode)
        with quiet():
            records = list(reader)
        return (records, reader.report), reader.report.complete

    return look


def recovering(log: Path) -> tuple[Any, bool]:
    found = walcore.recover(log, allow_incomplete=True)
    return (found.records, found.conflicts, found.report), found.report.complete


def finding(id: int) -> Look:
    def look(log: Path) -> tuple[Any, bool]:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = walcore.find(log, id)
        return (found, [str(one.message) for one in warned]), not warned

    return look


def verifying(log: Path) -> tuple[Any, bool]:
    """The command's own result, but for the time it took."""
    from walcore.cli import verify

    said = StringIO()
    with redirect_stdout(said), quiet():
        status = verify.command.callback(wal=log, as_json=True)  # type: ignore[misc]
    rows = [json.loads(line) for line in said.getvalue().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows], status == 0


LOOKS: dict[str, Look] = {
    **{mode: reading(mode) for mode in ("STRICT", "STOP", "SEGMENT", "SALVAGE")},
    "recover": recovering, "find": finding(3), "find the last": finding(life.OLD), "find none": finding(-5),
    "verify": verifying,
}  # fmt: skip
