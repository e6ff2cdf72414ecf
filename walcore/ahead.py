"""A gzip file unpacked by a thread of its own, some pieces ahead of the one that decodes them.

What is read is what one thread reads: the same bytes, in the same order, up to the same end.
"""

from __future__ import annotations

import sys
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

from walcore.sources import CHUNK, LARGE, GzipSource

if TYPE_CHECKING:
    from pathlib import Path

_PIECES: Final = 4
"""The thread is ahead by so many pieces of LARGE bytes at most."""
_MOMENT: Final = 0.2
"""Seconds after which who waits for a piece looks whether there still is a thread."""


class AheadSource:
    """A GzipSource that a thread reads, all but its first CHUNK bytes; close it before its descriptor.

    Where no thread may start, or it is gone, as in the child of a fork, it reads itself.
    """

    def __init__(self, fd: int, size: int, path: Path) -> None:
        self._front = GzipSource(fd, size, path)
        """Looks ahead if asked, and reads what no thread has read."""
        self._runner: GzipSource | None = GzipSource(fd, size, path)
        """Read by one at a time: here, then by the thread."""
        self._thread: Thread | None = None
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        self._full: SimpleQueue[tuple[bytearray, int] | BaseException] = SimpleQueue()
        self._piece = bytearray()
        self._start = 0
        self._stop = 0
        self._over = False
        self._closing = False

    @property
    def damage(self) -> tuple[str, str] | None:
        """See Source."""
        return self._front.damage

    def remaining(self) -> int | None:
        """See Source."""
        return self._front.remaining()

    def holds(self, offset: int, size: int) -> bool | None:
        """See Source."""
        return self._front.holds(offset, size)

    def readinto(self, room: memoryview) -> int:
        """See Source."""
        if self._over:
            return 0
        small = self._front.given < CHUNK
        if not small and self._runner is not None and self._start == self._stop:
            self._next()
        if self._runner is None:
            return self._front.readinto(room)
        if small:  # or not known to be any more
            got = self._runner.readinto(room)
        else:
            got = min(len(room), self._stop - self._start)
            room[:got] = memoryview(self._piece)[self._start : self._start + got]
            self._start += got
        self._front.given += got
        if got == 0:
            self._over, self._front.damage = True, self._front.damage or self._runner.damage
        return got

    def close(self) -> None:
        """End the thread; it is over when this returns."""
        thread, self._closing = self._thread, True
        self._free.put(bytearray())
        interrupted = None
        # While the interpreter ends no such thread runs any more, nor can it be waited for.
        while thread is not None and thread.is_alive() and not sys.is_finalizing():
            try:
                thread.join()
            except KeyboardInterrupt as error:  # its descriptor is about to be closed
                interrupted = error
        if interrupted is not None:
            raise interrupted

    # -- the reader's side --------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Have the next piece here; without a thread to send one, give up the runner."""
        if self._thread is None:
            self._begin()
        elif self._stop:
            self._free.put(self._piece)
        while True:
            alive = self._thread is not None and self._thread.is_alive()
            try:
                piece = self._full.get(timeout=_MOMENT if alive else 0)
            except Empty:
                if alive:
                    continue
                self._runner = None
                self._front.read_again()
                return
            if isinstance(piece, BaseException):
                raise piece
            self._piece, self._stop = piece
            self._start = 0
            return

    def _begin(self) -> None:
        for _ in range(_PIECES):
            self._free.put(bytearray())
        try:
            thread = Thread(target=self._run, args=(self._runner,), name="walcore-ahead", daemon=True)
            thread.start()
        except RuntimeError:  # none may, or none that is a daemon
            return
        self._thread = thread

    # -- the thread's side --------------------------------------------------------------------------------------------

    def _run(self, source: GzipSource) -> None:
        got = 1
        try:
            while got:
                piece = self._free.get() or bytearray(LARGE)
                if self._closing:
                    return
                got = source.readinto(memoryview(piece))
                self._full.put((piece, got))
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            self._full.put(error)
