"""The sealer: the thread on which finished segments are sealed and the listener is called.

Nothing here can fail the log.  A segment that can't be sealed stays as it is, plain, and the reason is logged and kept;
the next opening tries again.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walcore import seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from walcore.segments import Directory, Segment

log = logging.getLogger("walcore")

KEPT_FAILURES: Final = 100
# On two busy processors appends keep 0.92 of their speed beside a seal, not 0.65; a backlog grows meanwhile.
NICENESS: Final = 19


class _StoppedError(Exception):
    """The seal was given up on request."""


@dataclass(frozen=True, slots=True)
class SealFailure:
    """A segment that stayed plain, by file name, and why."""

    segment: str
    reason: str


class Sealer:
    """Seals what is submitted and calls the listener, one after the other, on a daemon thread; then it makes indexes.

    The thread is started when first needed, waits without polling, and gives way to all others.  Where none may be
    started nothing is sealed, and the listener is called by `close`.

    Who logs faster than is sealed waits in `wait_for_room`, once `most` segments are to be sealed.  It would wait for a
    thread that gives way to everything on the machine: one that doesn't takes its place, until nothing is left to seal.

    State, all under `_lock` (taken itself, not through `_changed`: a signal's exception can't come between its taking
    and the block that gives it back): `_segments`, `_forced` and `_unindexed` are what waits, `_current` is what is
    being sealed and `_indexed` what gets its index, both set by the one thread that is `_busy` alone; `_listening` is
    true while the listener runs, in a pause of these or between them; `_round` rises with every `stop`, and what was
    taken in an earlier one is given up; `_thread` is who works (`_gives_way` to all others), and another that finds
    itself replaced gives up what it has and ends; `_closing` ends the thread once nothing waits but indexes.
    Submitters, `stop` and `close` wake the thread, the thread wakes who waits for it. The lock is reentrant: a signal
    handler that logs may run while this very thread holds it.
    """

    def __init__(
        self, directory: Directory, *, most: int = sys.maxsize, on_force: Callable[[Path], object] | None = None
    ) -> None:
        self._directory = directory
        self._most = most
        self._on_force = on_force
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._segments: deque[Segment] = deque()
        self._forced: deque[Path] = deque()
        self._unindexed: deque[Segment] = deque()
        self._current: Segment | None = None
        self._indexed: Segment | None = None
        self._busy = self._listening = self._gives_way = False
        self._round = self._taken_in = 0
        self._closing = False
        self._retired = False
        self._thread: threading.Thread | None = None
        self._no_thread = False
        self.sealed = 0
        self.failed = 0
        self._failures: deque[SealFailure] = deque(maxlen=KEPT_FAILURES)

    @property
    def backlog(self) -> int:
        """How many segments wait to be sealed, the one being sealed included."""
        with self._lock:
            return len(self._segments) + (self._current is not None)

    @property
    def index_backlog(self) -> int:
        """How many sealed segments wait to have their index looked at, that being made included."""
        with self._lock:
            return len(self._unindexed) + (self._indexed is not None)

    @property
    def failures(self) -> list[SealFailure]:
        """The latest segments that stayed plain; a copy, since one may be added at any moment."""
        with self._lock:
            return list(self._failures)

    def submit(self, segment: Segment) -> None:
        """Queue a finished, synced segment, unless sealing was retired.  Never fails."""
        with self._lock:
            if not self._retired:
                self._segments.append(segment)
                self._wake()

    def wait_for_room(self) -> None:
        """Wait while as many segments are to be sealed as may be, but never for the listener."""
        with self._lock:
            while self._is_full():
                if self._gives_way:
                    # By this thread: one that it started itself would give way as it does.
                    self._start()
                self._changed.wait()

    def index(self, segments: Iterable[Segment]) -> None:
        """Have sealed segments get an index, those that have none that fits, once nothing waits to be sealed.

        It is given up by `stop` and by `close`: the next opening does it.
        """
        with self._lock:
            self._unindexed.extend(segments)
            if self._unindexed:
                self._wake()

    def notify(self, path: Path) -> None:
        """Queue a call of the listener with `path`, a file just synced.

        If the call queued last is for the same file and still waits, it stands for both.
        """
        if self._on_force is None:
            return
        with self._lock:
            if not self._forced or self._forced[-1] != path:
                self._forced.append(path)
                self._wake()

    def stop(self) -> list[Segment]:
        """Give up the seal being made, drop what waits, and return when nothing is touched any more.

        What is submitted later is sealed as ever.

        Returns:
            What was given up, to be submitted again if it is not deleted after all.
        """
        with self._lock:
            given_up = ([self._current] if self._current else []) + list(self._segments)
            self._segments.clear()
            self._unindexed.clear()
            self._round += 1
            self._changed.notify_all()
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(lambda: self._current is self._indexed is None)
        return given_up

    def retire(self) -> None:
        """`stop` for good: what is left, and what is submitted later, is sealed by the next opening."""
        with self._lock:
            self._retired = True
        self.stop()

    def close(self, timeout: float | None = None) -> bool:
        """Finish what waits and end the thread; True once that is done, False when `timeout` seconds ran out first.

        May be called again.
        """
        with self._lock:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
            if thread is None:
                self._segments.clear()
        if thread is None:
            self._call_listener()
        elif thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def _is_full(self) -> bool:
        return self.backlog >= self._most and self._thread is not None and not self._listening

    def _wake(self) -> None:
        if self._thread is None and not self._no_thread and not self._closing:
            self._start()
        self._changed.notify_all()

    def _start(self) -> None:
        """Start a thread, in the place of that which works if there is one."""
        gives_way = self._thread is None
        try:
            thread = threading.Thread(target=self._run, args=(gives_way,), name="walcore-sealer", daemon=True)
            thread.start()
        except (RuntimeError, MemoryError) as exc:
            if self._thread is None:
                self._no_thread = True
                log.warning("%s: no segment is sealed in this process: %s", self._directory.path, exc)
        else:
            self._thread, self._gives_way = thread, False

    def _is_replaced(self) -> bool:
        return self._thread is not threading.current_thread() and self._thread is not None

    def _give_way(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            try:
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            except OSError:
                return
            self._gives_way = True
            self._changed.notify_all()

    def _run(self, gives_way: bool) -> None:
        while self._take(gives_way=gives_way):
            given_up = False
            try:
                if self._current is not None:
                    given_up = self._seal(self._current)
                elif self._indexed is not None:
                    given_up = self._make_index(self._indexed)
                else:
                    self._call_listener()
            finally:
                gives_way = self._let_go(given_up=given_up)

    def _take(self, *, gives_way: bool) -> bool:
        """Wait for work and take it; false if this thread is to end."""
        with self._lock:
            if gives_way and not self._gives_way and not self._is_replaced():
                self._give_way()
            self._changed.wait_for(self._has_work)
            if self._is_replaced():
                return False
            if self._closing:
                self._unindexed.clear()
                if not self._segments and not self._forced:
                    return False
            self._busy, self._taken_in = True, self._round
            # The listener first: a seal takes seconds.
            if not self._forced:
                if self._segments:
                    self._current = self._segments.popleft()
                else:
                    self._indexed = self._unindexed.popleft()
            return True

    def _has_work(self) -> bool:
        if self._is_replaced():
            return True
        waits = self._segments or self._forced or self._unindexed or self._closing
        return bool(waits) and not self._busy  # who was replaced may be at work still

    def _let_go(self, *, given_up: bool) -> bool:
        """Put back what was given up unless it was stopped; true if nothing is left to seal."""
        with self._lock:
            if given_up and self._round == self._taken_in:
                if self._current is not None:
                    self._segments.appendleft(self._current)
                elif self._indexed is not None and not self._closing:
                    self._unindexed.append(self._indexed)
            self._current = self._indexed = None
            self._busy = False
            self._changed.notify_all()
            return not self._segments

    def _make_index(self, segment: Segment) -> bool:
        """True if it was given up, as the answer of `_seal`."""

        def pause() -> None:
            self._call_listener()
            if self._round != self._taken_in or self._closing or self._segments:
                raise _StoppedError

        try:
            seal.index_segment(self._directory, segment, pause)
        except _StoppedError:
            return True
        except Exception as exc:  # noqa: BLE001 (whatever it is, the log goes on without it)
            log.warning("%s: no index was made: %s", segment.path, exc)
        return False

    def _seal(self, segment: Segment) -> bool:
        def pause() -> None:
            self._call_listener()
            if self._round != self._taken_in or self._is_replaced():
                raise _StoppedError

        try:
            path = seal.seal_segment(self._directory, segment, pause)
        except _StoppedError:
            return True
        except Exception as exc:  # noqa: BLE001 (whatever it is, the log goes on and the segment stays plain)
            with self._lock:
                self.failed += 1
                self._failures.append(SealFailure(segment.name, str(exc) or repr(exc)))
            log.warning("Segment %s stays plain: %s", segment.path, exc)
        else:
            self.sealed += 1
            self.notify(path)
        return False

    def _call_listener(self) -> None:
        while self._on_force is not None:
            with self._lock:
                if not self._forced or self._is_replaced():
                    return
                path = self._forced.popleft()
                self._listening = True
                self._changed.notify_all()
            try:
                self._on_force(path)
            except BaseException:  # sys.exit() in a listener must not end sealing
                log.exception("on_force failed for %s", path)
            finally:
                with self._lock:
                    self._listening = False
                    self._changed.notify_all()
