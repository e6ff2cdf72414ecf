"""More records than memory may hold: sorted by id, in a temporary file that nobody else can open.

The file holds runs, each of blocks, each with its size before it.  All records of one id in a run are in one block, so
runs are merged block by block.  It has no name: whatever becomes of the process, the file goes with it.
"""

from __future__ import annotations

import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import ujson

from walcore._core.record import Record, of_rows, rows
from walcore.files import told
from walcore.record import ValueKind
from walcore.system import calls, read_at

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK: Final = 64 * 1024
"""What the records of a block take in memory, as they are weighed."""
_SIZE: Final = 8
_KINDS: Final = {str(kind): kind for kind in ValueKind}
_ID: Final = attrgetter("id")

Run = tuple[int, int]
"""Where in the file a run begins and ends."""
_Head = tuple[Iterator[list[Record]], list[Record], int]
"""A run being merged: what is to come, the block at hand, and where in it the next record is."""


class SpillFile:
    """The temporary file, in the folder that `tempfile` takes (TMPDIR); it is closed when this is dropped.

    Raises:
        OSError: making it fails; by the methods, writing or reading it does.
        ValueError: by the methods, it was closed.
    """

    def __init__(self) -> None:
        import tempfile

        self.fd, name = tempfile.mkstemp(prefix="walcore-")
        self.close = weakref.finalize(self, calls.close, self.fd)
        self.path = Path(name)
        """What it was called, for errors."""
        calls.unlink(name)
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, chunks: Iterable[list[Record]], places: list[tuple[int, int]] | None = None) -> Run:
        """Write one run of records that come sorted by id; `places` is given the first id and the place of each block.

        No two of `chunks` have an id in common.
        """
        start = self.size
        for chunk in chunks:
            at = 0
            while at < len(chunk):
                if places is not None:
                    places.append((chunk[at].id, self.size))
                block, at = rows(chunk, at, BLOCK)
                self._append(ujson.dumps(block).encode())
        return start, self.size

    def _append(self, block: bytes) -> None:
        data = memoryview(len(block).to_bytes(_SIZE, "little") + block)
        with told("write", self.path):
            while data:
                done = calls.pwrite(self.fd, data, self.size)
                self.size, data = self.size + done, data[done:]

    def block(self, at: int) -> tuple[list[Record], int]:
        """The records of the block at byte `at`, and where the next one is."""
        if not self.close.alive:
            msg = "the temporary file of these records is closed"
            raise ValueError(msg)
        with told("read", self.path):
            size = int.from_bytes(read_at(self.fd, _SIZE, at), "little")
            block = read_at(self.fd, size, at + _SIZE)
        return of_rows(ujson.loads(block), _KINDS), at + _SIZE + size

    def read(self, run: Run) -> Iterator[list[Record]]:
        """The records of a run, block by block."""
        at, end = run
        while at < end:
            records, at = self.block(at)
            yield records


def merged(runs: Iterable[Iterator[list[Record]]]) -> Iterator[list[Record]]:
    """The records of all runs by id, those of one id in the order of the runs and never in two lists."""
    heads: list[_Head] = [(iter(run), [], 0) for run in runs]
    while True:
        heads = [head for head in map(_filled, heads) if head[1]]
        if not heads:
            return
        bound = min(records[-1].id for _, records, _ in heads)
        chunk: list[Record] = []
        for number, (run, records, start) in enumerate(heads):
            stop = bisect_right(records, bound, start, key=_ID)
            chunk += records[start:stop]
            heads[number] = (run, records, stop)
        chunk.sort(key=_ID)
        yield chunk


def _filled(head: _Head) -> _Head:
    run, records, start = head
    return head if start < len(records) else (run, next(run, []), 0)


class SpilledRecords(Mapping[int, Record]):
    """The records of a log by id, in a temporary file: read-only, iterated by rising id, a block at a time in memory.

    The file has no name, and lies in the folder that `tempfile` takes (TMPDIR).  `close()` gives it back, as dropping
    the mapping does; so does leaving a `with` block.

    Raises:
        OSError: reading the file fails.
        ValueError: it was closed.
    """

    def __init__(self, chunks: Iterator[list[Record]]) -> None:
        places: list[tuple[int, int]] = []
        self._file = SpillFile()
        self._length = 0
        self._run = self._file.write(self._counted(chunks), places)
        self._firsts = array("i", [first for first, _ in places])
        self._places = array("Q", [place for _, place in places])

    def _counted(self, chunks: Iterator[list[Record]]) -> Iterator[list[Record]]:
        for chunk in chunks:
            self._length += len(chunk)
            yield chunk

    def __getitem__(self, id: object) -> Record:
        if isinstance(id, int) and (number := bisect_right(self._firsts, id) - 1) >= 0:
            records, _ = self._file.block(self._places[number])
            at = bisect_left(records, id, key=_ID)
            if at < len(records) and records[at].id == id:
                return records[at]
        raise KeyError(id)

    def __iter__(self) -> Iterator[int]:
        return (record.id for record in self.stream())

    def __len__(self) -> int:
        return self._length

    def values(self) -> ValuesView[Record]:
        """The records, by rising id."""
        return _Values(self)

    def items(self) -> ItemsView[int, Record]:
        """Pairs of id and record, by rising id."""
        return _Items(self)

    def stream(self) -> Iterator[Record]:
        """The records, by rising id: what `values()` iterates."""
        for records in self._file.read(self._run):
            yield from records

    def close(self) -> None:
        """Give the file back; idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._length} records>"


# A Mapping's own views would look up each key.
class _Values(ValuesView[Record]):
    _mapping: SpilledRecords

    def __iter__(self) -> Iterator[Record]:
        return self._mapping.stream()


class _Items(ItemsView[int, Record]):
    _mapping: SpilledRecords

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        return ((record.id, record) for record in self._mapping.stream())
