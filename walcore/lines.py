"""The small files of a log: one JSON line that ends in its own CRC-32C, read back strictly and in bounded memory.

A checksum tells damage from what was written, not friend from foe: whoever may write the folder can make one.  So
nothing that such a line says makes its reader allocate more than a few times the limits here.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

import ujson

from walcore import format as fmt
from walcore._core.encode import crc32c
from walcore.headers import PurgeMarker, is_store

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_BYTES: Final = 1 << 20
"""The largest line that is parsed as a whole: Python's objects take up to thirty times the room of their text."""
MARKER_BYTES: Final = 32 << 20
"""The largest purge marker: over 700,000 segments."""

_CHECKSUM: Final = b',"crc32c":'
_ROW: Final = rb'\["(wal--?[0-9]+\.v1(?:\.gz)?)",([0-9]{1,20}),([0-9]{1,20})\]'
_ROWS: Final = rb"\[((?:" + re.sub(rb"\((?!\?)", b"(?:", _ROW) + rb",?)*+)\]"
_ONE_ROW: Final = re.compile(_ROW)
_MARKER: Final = re.compile(
    rb'\{"nextLsn":([0-9]{1,20}),"store":("(?:[^"\\]|\\.)*+"),"headed":' + _ROWS + rb',"headless":' + _ROWS
)


def checked(fields: dict[str, Any]) -> bytes:
    """The line that holds `fields`."""
    body = ujson.dumps(fields).encode()[:-1]
    return b"%s%s%d}\n" % (body, _CHECKSUM, crc32c(body))


def parse(line: bytes) -> dict[str, Any] | None:
    """The fields that `checked` was given; None if the line is torn, garbled, or larger than LINE_BYTES."""
    end = _end(line)
    try:
        fields = ujson.loads(line[:end] + b"}") if 0 <= end <= LINE_BYTES else None
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def parse_marker(line: bytes) -> PurgeMarker | None:
    """The marker of a purge; None if the line is anything but what `checked` makes of one."""
    end = _end(line)
    found = _MARKER.fullmatch(line, 0, end) if end >= 0 else None
    if found is None:
        return None
    next_lsn = int(found[1])
    try:
        store = ujson.loads(found[2])
    except ValueError:
        return None
    if not 1 <= next_lsn <= fmt.MAX_LSN + 1 or not is_store(store):
        return None
    return PurgeMarker(next_lsn, store, Rows(line, *found.span(3)), Rows(line, *found.span(4)))


def _end(line: bytes) -> int:
    """Where the checksum begins that holds; -1 if there is none."""
    end = line.rfind(_CHECKSUM)
    with memoryview(line) as view:
        held = end >= 0 and line[end + len(_CHECKSUM) :] == b"%d}\n" % crc32c(view[:end])
    return end if held else -1


class Rows(AbstractSet[tuple[str, int, int]]):
    """The sorted rows of a marker's text, looked up there: made into tuples they would take twenty times the room."""

    def __init__(self, text: bytes, start: int, end: int) -> None:
        self._text = text
        self._places = array("Q", (row.start() for row in _ONE_ROW.finditer(text, start, end)))

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        return map(self._row, self._places)

    def __contains__(self, row: Any) -> bool:
        at = bisect_left(self._places, row, key=self._row)
        return at < len(self._places) and row == self._row(self._places[at])

    def _row(self, place: int) -> tuple[str, int, int]:
        row = _ONE_ROW.match(self._text, place)
        assert row is not None
        return row[1].decode(), int(row[2]), int(row[3])
