"""The live end of a log: the file being written, and what the core asks for when it needs more than that file.

`Tail` is what the core calls: it begins and finishes segments, carries out purges and turns failures into exceptions.
The core calls all but `synced`, `failed` and `full` with the lead, so these are never at work twice at a time.
`LiveLog` holds core, tail, sealer and lock together and closes them in the right order; the threads hold parts of it,
never the `Wal` that the user has, so a dropped `Wal` can be drained.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from walcore import lifetime
from walcore import purge as purging
from walcore._core.encode import header_frame
from walcore._core.writer import Writer
from walcore.config import SyncPolicy
from walcore.errors import WalClosedError, WalError, WalFailedError, WalFullError, WalTimeoutError
from walcore.files import advised, close_quietly, told
from walcore.format import MAX_INT32
from walcore.lock import DirectoryLock
from walcore.opening import check_store, open_directory
from walcore.sealer import Sealer
from walcore.segments import Directory
from walcore.state import State, read_state, write_state
from walcore.stats import Stats
from walcore.system import calls

if TYPE_CHECKING:
    from pathlib import Path

    from walcore.config import WalConfig
    from walcore.opening import Opening
    from walcore.segments import NewSegment, PurgeMarker

log = logging.getLogger("walcore")

_NANOSECONDS: Final = 1_000_000_000
# Seconds: less than a thread takes to start.
_MOMENT: Final = 2e-5
# Thirty years, in seconds: as good as for ever, and no number that a lock refuses.
_LONG: Final = 1e9
# Seconds since 1970 have ten digits until 2286; only the size of a header is reckoned from this.
_TEN_DIGITS: Final = 1_000_000_000


class Tail:
    """The files behind the core; see the module's text."""

    def __init__(self, directory: Directory, opening: Opening, sealer: Sealer, *, preallocates: bool = False) -> None:
        self.directory = directory
        self.store = opening.store_uuid
        self.sealer = sealer
        self.preallocates = preallocates
        self.core: Writer
        self.current: NewSegment | None = None
        self.writer_thread: threading.Thread | None = None
        self._state = opening.state
        self._marker: PurgeMarker | None = None
        # Held while a sync is taken from the core and told to the listener, so that paths come in order.
        self._telling = threading.RLock()

    # -- called by the core -------------------------------------------------------------------------------------------

    def start_loop(self) -> None:
        """Start the writer loop's thread; it runs when this returns.

        Raises:
            RuntimeError: none may start here.
            MemoryError: it had no memory to begin with.
        """
        thread = threading.Thread(target=self.core.run, name="walcore-writer", daemon=True)
        thread.start()
        # A thread whose memory runs out before its first call ends unheard; nobody may wait for such a loop.
        while not self.core.loop_runs:
            if not thread.is_alive():
                msg = "the writer's thread ended before its first call"
                raise MemoryError(msg)
            time.sleep(_MOMENT)
        self.writer_thread = thread

    def begin(self, number: int, first_id: int, last_lsn: int) -> tuple[int, int]:
        """Make the next segment, then finish the one before, which was synced up to `last_lsn`.

        Returns:
            Descriptor and size of the new file.

        Raises:
            OSError: nothing has changed.
        """
        self.sealer.wait_for_room()
        size = self._end_file()  # before anything has changed
        made = self.directory.create_segment(number, first_id, self.store, int(time.time()))
        self._finish_current(last_lsn, size)
        with self._telling:
            self.current = made
            self.sealer.notify(made.path)
        return made.fd, made.size

    def finish(self, last_lsn: int) -> None:
        """Finish the segment being written, which was synced up to `last_lsn`; none is there until `begin`."""
        self._finish_current(last_lsn, self._end_file())

    def mark_purge(self, next_lsn: int) -> None:
        """Make it durable that all that is there goes.

        Raises:
            OSError: nothing has changed, unless the exception's `in_doubt` is true.
        """
        given_up = self.sealer.stop()
        try:
            self._marker = purging.mark(self.directory, next_lsn, self.store)
        except BaseException as exc:
            # A failed sync of the directory leaves open whether the marker is in force.
            # So does what is no failed call, such as a signal's exception.
            exc.in_doubt = (  # type: ignore[attr-defined]
                not isinstance(exc, OSError) or getattr(exc, "call", "") == "fsync"
            )
            for segment in given_up:
                self.sealer.submit(segment)
            raise

    def carry_out_purge(self) -> int:
        """Delete what was marked; returns the number of the next segment."""
        assert self._marker is not None
        with self._telling:
            current, self.current = self.current, None
            self.core.take_unreported_sync()
        if current:
            close_quietly(current.fd)
        number = purging.carry_out(self.directory, self._marker)
        # As it was just written, with what it may say of RDF4J's segments that remain.
        self._state = read_state(self.directory) or self._state
        self._marker = None
        return number

    def synced(self) -> None:
        """Have the listener told that the file being written was synced, if it was."""
        with self._telling:
            if self.core.take_unreported_sync() and self.current:
                self.sealer.notify(self.current.path)

    def failed(self, call: str, cause: BaseException, durable_lsn: int) -> WalFailedError:
        """The exception for a log that failed for good."""
        call = getattr(cause, "call", call)
        path = str(getattr(cause, "filename", None) or self._path())
        if isinstance(cause, OSError) and not cause.strerror:
            cause = OSError(cause.errno, os.strerror(cause.errno or 0), path)
        why = getattr(cause, "strerror", None) or str(cause) or repr(cause)
        msg = (
            f"{call} of {path} failed: {why}.  Nothing above LSN {durable_lsn} is acknowledged; close the log and open "
            "it anew to recover"
        )
        error = WalFailedError(msg, call=call, path=path, durable_lsn=durable_lsn)
        error.__cause__ = cause
        return error

    def full(self, cause: OSError) -> WalFullError:
        """The exception for a full disk."""
        path = str(cause.filename or self._path())
        why = os.strerror(cause.errno or 0)
        msg = f"no room to write {path}: {why}.  What has an LSN stays logged; free some room and call again"
        error = WalFullError(msg)
        error.__cause__ = OSError(cause.errno, why, path)
        return error

    # -- called by LiveLog --------------------------------------------------------------------------------------------

    def close(self, last_lsn: int, *, clean: bool) -> None:
        """Close the file being written; if `clean`, leave word that all up to `last_lsn` is on disk."""
        size = 0
        try:
            size = self._end_file() if clean else 0
        except OSError as exc:
            self._no_state(exc)
            clean = False
        current, self.current = self.current, None
        if current and clean:
            self._settle(current, last_lsn, size)
        elif current:
            close_quietly(current.fd)  # what failed before is what is told
        if clean and (self._state.number or last_lsn) and not (self._state.clean and current is None):
            self._write_state(replace(self._state, clean=True, last_lsn=max(last_lsn, self._state.last_lsn)))

    def abandon_in_child(self) -> None:
        """In a forked child: close the copies of the descriptors."""
        if self.current:
            calls.close(self.current.fd)
            self.current = None

    def _path(self) -> Path:
        """The file being written, else the folder."""
        current = self.current  # the loop may be finishing it
        return current.path if current else self.directory.path

    def _end_file(self) -> int:
        """Bytes of the file being written, without what was allocated ahead; 0 without a file."""
        if self.current is None:
            return 0
        path, fd = self.current.path, self.current.fd
        with told("stat", path):
            size = calls.fstat(fd).st_size
        if size > self.core.file_size and self.preallocates:
            size = self.core.file_size
            with told("ftruncate", path):
                calls.ftruncate(fd, size)
            # Or a power cut could bring the zeros back, in a file that others follow.
            with told("fsync", path):
                calls.fsync(fd)
        return size

    def _finish_current(self, last_lsn: int, size: int) -> None:
        self.synced()
        with self._telling:
            current, self.current = self.current, None
        if current:
            self._settle(current, last_lsn, size)
            self._write_state(self._state)
            self.sealer.submit(current.finished(size))

    def _settle(self, current: NewSegment, last_lsn: int, size: int) -> None:
        """Close a synced file of `size` bytes; what the state file should say of it is kept."""
        close_quietly(current.fd)
        header = current.header
        self._state = replace(
            self._state, last_lsn=last_lsn, number=header.number, header_crc=header.crc, size=size, clean=False
        )

    def _write_state(self, state: State) -> None:
        # The state only saves the next opening some work: a log goes on, and closes, without it.
        try:
            write_state(self.directory, state)
        except OSError as exc:
            self._no_state(exc)
        else:
            self._state = state

    def _no_state(self, exc: OSError) -> None:
        log.warning("%s: the state file was not written, the next opening will scan: %s", self.directory.path, exc)


class LiveLog:
    """All that an open log consists of; opening it takes the lock and repairs what a crash left."""

    def __init__(self, config: WalConfig, *, create: bool) -> None:
        self.path = config.directory.absolute()
        self.forked = False
        self.closed = False
        self.core: Writer  # not there while the log is being opened
        self._closing = threading.RLock()
        with advised():
            self._take(config, create=create)

    def _take(self, config: WalConfig, *, create: bool) -> None:
        self.directory = Directory(self.path, create=create, file_mode=config.file_mode)
        self.lock = DirectoryLock(self.path, within=self.directory.fd, file_mode=config.file_mode)
        # Before the lock is taken: a child forked from now on gives up its copies.
        lifetime.watch(self)
        try:
            if config.store_uuid is not None:
                check_store(self.directory, config.store_uuid)
            self.lock.acquire()
            self._open(config)
        except BaseException:
            lifetime.forget(self)
            self.lock.release()
            self.directory.close()
            raise

    def _open(self, config: WalConfig) -> None:
        self.opening = open_directory(self.directory, config.store_uuid)
        if self.opening.next_number > MAX_INT32:
            msg = f"{self.path}: segment {MAX_INT32} is there, there is no number above it: begin a new log"
            raise WalError(msg)
        # Beside what opening found, or the first record would wait for all that a crash or RDF4J left plain.
        most = config.max_unsealed_segments + len(self.opening.to_seal)
        self.sealer = Sealer(self.directory, most=most, on_force=config.on_force)
        self.tail = Tail(self.directory, self.opening, self.sealer, preallocates=config.preallocate_bytes > 0)
        interval = config.sync_interval if config.sync_policy is SyncPolicy.INTERVAL else 0
        timeout = -1 if config.buffer_timeout is None else int(config.buffer_timeout * _NANOSECONDS)
        self.core = self.tail.core = Writer(
            self.tail,
            half_bytes=config.batch_buffer_bytes,
            max_segment_bytes=config.max_segment_bytes,
            header_size=len(header_frame(self.opening.store_uuid, _TEN_DIGITS, 0, 0)) - len("00"),
            next_lsn=self.opening.next_lsn,
            next_number=self.opening.next_number,
            always=config.sync_policy is SyncPolicy.ALWAYS,
            interval=max(1, int(interval * _NANOSECONDS)) if interval else 0,
            room_timeout=timeout,
            listens=config.on_force is not None,
            preallocate=config.preallocate_bytes,
            system=calls.core,
        )
        for segment in self.opening.to_seal:
            self.sealer.submit(segment)
        self.sealer.index(self.opening.to_index)

    def close(self, timeout: float | None = None) -> None:
        """Drain, sync, wait for the seals and give the lock back; see `Wal.close`."""
        if self.forked:
            self.abandon_in_child()
            return
        deadline = _deadline(timeout)
        if not self._closing.acquire(timeout=-1 if deadline is None else _left(deadline) or 0):
            self._say_timeout("another thread is closing it")
        try:
            if not self.closed:
                self._close(deadline)
        finally:
            self._closing.release()

    def _close(self, deadline: float | None) -> None:
        if self.core.state != "closed":  # else an earlier close was interrupted behind that point
            self._finish(deadline)
        failure = self.core.failure()
        lifetime.forget(self)
        self.lock.release()
        self.directory.close()
        self.closed = True
        if failure:
            raise failure

    def _finish(self, deadline: float | None) -> None:
        self.core.begin_close()
        try:
            with suppress(WalFailedError):  # it is closed all the same, and raised at the end
                self.core.drain_all(_left(deadline))
        except WalTimeoutError:
            self._say_timeout(f"LSN {self.core.durable_lsn + 1} to {self.core.last_lsn} are not on disk")
        try:
            self.core.end_loop(_left(deadline))
        except WalTimeoutError:
            self._say_timeout("the writer is still at work")
        if not self.sealer.close(_left(deadline)):
            self._say_timeout(f"{self.sealer.backlog} segments are not sealed")
        # The core is asked, not the drain: a purge can fail with every record on disk.
        self.tail.close(self.core.last_lsn, clean=self.core.failure() is None)
        self.core.end_close()
        if self.tail.writer_thread:
            self.tail.writer_thread.join(1)  # it has left the loop; only its last lines are left

    def _say_timeout(self, what: str) -> None:
        msg = f"{self.path} was not closed in time: {what}; it keeps its lock, call close again"
        raise WalTimeoutError(msg, durable_lsn=self.core.durable_lsn)

    def close_at_exit(self) -> None:
        """Drain at the interpreter's end; what waits to be sealed is left to the next opening."""
        if not hasattr(self, "core"):
            return
        try:
            self.sealer.retire()
            self.close()
        except Exception:
            log.exception("%s could not be closed at exit", self.path)

    def abandon_in_child(self) -> None:
        """In a forked child: from now on every call raises; the parent goes on."""
        if self.forked:
            return
        self.forked = True
        if hasattr(self, "core"):
            self.core.mark_forked()
            self.tail.abandon_in_child()
        self.lock.abandon_in_child()
        self.directory.close()

    def stats(self) -> Stats:
        """The log at this moment."""
        if self.forked:  # the sealer's lock may be held by a thread that isn't here
            msg = "this log was opened by the parent process: a forked child must open its own"
            raise WalClosedError(msg)
        buffered, written, writes, syncs, spent, longest = self.core.counters()
        current = self.tail.current
        return Stats(
            state=self.core.state,
            last_lsn=self.core.last_lsn,
            written_lsn=self.core.written_lsn,
            durable_lsn=self.core.durable_lsn,
            segment=current.path.name if current else None,
            buffered_bytes=buffered,
            bytes_written=written,
            writes=writes,
            syncs=syncs,
            sync_seconds=spent / _NANOSECONDS,
            sync_seconds_max=longest / _NANOSECONDS,
            seal_backlog=self.sealer.backlog,
            sealed=self.sealer.sealed,
            index_backlog=self.sealer.index_backlog,
            seal_failures=tuple(f"{failure.segment}: {failure.reason}" for failure in self.sealer.failures),
        )


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        msg = f"timeout must be a number of seconds or None, not {type(timeout).__name__}"
        raise TypeError(msg)
    if not timeout >= 0:
        msg = f"timeout must be 0 or more seconds, got {timeout}"
        raise ValueError(msg)
    return time.monotonic() + min(timeout, _LONG)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
