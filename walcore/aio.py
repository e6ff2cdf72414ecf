"""A log for programs on asyncio: tasks wait for the disk, their event loop does not.

async with await walcore.aio.open("store/wal") as wal:
    lsn = wal.log_mint(42, walcore.ValueKind.LITERAL, "Zürich", language="de")
    await wal.commit(lsn)

All tasks of a loop that wait are woken by one event of the loop for each sync.  The tasks that run in one round of the
loop share a sync: it is asked for once they have all had their turn.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self, Unpack

from walcore import lifetime
from walcore._core.notify import Bell
from walcore.config import Settings, SyncPolicy, WalConfig
from walcore.errors import WalConfigError
from walcore.wal import Wal, config_of

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from walcore._core.writer import Writer


class AsyncWal:
    """An open Wal as the tasks of one event loop see it: of the loop that runs where this is made.

    Made by `walcore.aio.open`, or of a Wal that is open: `AsyncWal(wal)`.  Any number may be made of one Wal, for
    several loops, and threads may use the Wal itself at the same time.

    `wal` is the Wal.  `log_mint` and `log_mint_many` are its own methods: they pack into the buffer and return, but
    while the buffer is full they hold up the loop until the disk has taken some of it.  `await drain()` before a load
    makes room; what is larger than `batch_buffer_bytes` belongs in a thread: `await asyncio.to_thread(log_mint_many,
    ...)`.  With `buffer_timeout=0` they raise WalFullError instead of holding up the loop.

    A wait that is cancelled, as by `asyncio.timeout`, leaves the record logged.

    Raises:
        RuntimeError: no event loop runs here.
        WalConfigError: the policy is ALWAYS, where log_mint itself would hold up the loop until the disk has its
            record; under COMMIT `await wal.commit(wal.log_mint(...))` promises the same.
        OSError: no descriptor is left for waking the loop.
    """

    def __init__(self, wal: Wal) -> None:
        _check_policy(wal.config)
        self.wal = wal
        self.log_mint = wal.log_mint
        self.log_mint_many = wal.log_mint_many
        self._core: Writer = wal._live.core  # noqa: SLF001 - the other half of the front door
        self._commit_waits = wal.config.sync_policy is SyncPolicy.COMMIT
        self._waits = _Waits(asyncio.get_running_loop(), self._core)

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def commit(self, lsn: int | None = None) -> int:
        """Wait until `lsn` is on disk, except under INTERVAL; see `Wal.commit`.

        Raises:
            RuntimeError: this AsyncWal is another event loop's.
        """
        if self._commit_waits:
            return await self._waits.reach(self._core.begin_commit(lsn))
        return self.wal.commit(lsn)

    async def await_durable(self, lsn: int) -> None:
        """Wait until `lsn` is on disk, under every policy; see `Wal.await_durable`.

        `asyncio.timeout` limits the wait.

        Raises:
            RuntimeError: this AsyncWal is another event loop's.
        """
        await self._waits.reach(self._core.begin_wait(lsn))

    async def drain(self) -> None:
        """Wait until the buffer has room for `batch_buffer_bytes` of frames, if nobody else logs meanwhile."""
        if self.wal.stats().buffered_bytes > self.wal.config.batch_buffer_bytes // 2:
            await self.flush()

    # -- what takes a thread ------------------------------------------------------------------------------------------
    # If the wait for one of these is cancelled, the thread does it all the same.

    async def flush(self) -> None:
        """Give all that was logged so far to the kernel, in a thread; see `Wal.flush`."""
        await asyncio.to_thread(self.wal.flush)

    async def rotate(self) -> None:
        """Finish the segment being written, in a thread; see `Wal.rotate`."""
        await asyncio.to_thread(self.wal.rotate)

    async def purge_all_segments(self) -> None:
        """Delete all that was logged so far, in a thread; see `Wal.purge_all_segments`."""
        await asyncio.to_thread(self.wal.purge_all_segments)

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the log is told, not the task
        """Close the Wal, in a thread; see `Wal.close`.  Tasks that wait already are served.

        To close nothing but this view of a Wal, drop it.
        """
        try:
            await asyncio.to_thread(self.wal.close, timeout)
        finally:
            if self.wal.is_closed:
                self._waits.close()

    async def __aenter__(self) -> Self:
        self.wal.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        waits = getattr(self, "_waits", None)
        if waits is not None:
            waits.drop()

    def __repr__(self) -> str:
        return f"<walcore.aio.AsyncWal of {self.wal!r}>"


class _Waits:
    """The tasks of one loop that wait, and the bell that wakes it for them.

    Either the bell has been asked for, or asking is due, or nobody waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, core: Writer) -> None:
        self._loop = loop
        self._core = core
        self._lsns: dict[asyncio.Future[int], int] = {}  # of each task's future
        self._asked = False
        self._target = 0  # what the bell was asked for, the lowest of them
        self._bell = Bell(core)
        self._closed = False
        self._loop.add_reader(self._bell.fileno(), self._wake)
        lifetime.watch(self)

    async def reach(self, wait: tuple[int, int] | None) -> int:
        """Wait for what Notify.begin_wait said is to be waited for; returns durable_lsn."""
        if wait and asyncio.get_running_loop() is not self._loop:
            msg = "this AsyncWal is another event loop's: make one of its Wal for each loop"
            raise RuntimeError(msg)
        while wait:
            future = self._loop.create_future()
            self._lsns[future] = wait[0]
            if not self._asked:
                self._asked = True
                self._loop.call_soon(self._ask)
            try:
                durable: int = await future
            finally:
                del self._lsns[future]
            if durable:
                return durable
            wait = self._core.go_on_waiting(*wait)
        return self._core.durable_lsn

    def _ask(self) -> None:
        """After every task that could had its turn: one sync for all of them."""
        self._asked = False
        self._target = min((lsn for future, lsn in self._lsns.items() if not future.done()), default=0)
        if self._target:
            settled = self._bell.ask(self._target)
            self._asked = True
            if settled:
                self._wake()

    def _wake(self) -> None:
        """The bell rang: wakes those whose record is on disk; all of them, to see for themselves, if none is."""
        try:
            durable = self._bell.take()
            self._answer(durable, everybody=durable < self._target)
        finally:
            self._loop.call_soon(self._ask)  # behind those that were woken

    def _answer(self, durable: int, *, everybody: bool) -> None:
        for future, lsn in self._lsns.items():
            if (everybody or lsn <= durable) and not future.done():
                future.set_result(durable if lsn <= durable else 0)

    def close(self) -> None:
        """Leave the loop and the log alone from now on; who still waits is woken to see for himself."""
        if self._closed:
            return
        self._closed = True
        lifetime.forget(self)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._bell.fileno())
            self._answer(0, everybody=True)
        self._bell.close()

    def drop(self) -> None:
        """Close, from whatever thread the collector runs in; nobody waits."""
        if self._closed:
            return
        try:
            self._loop.call_soon_threadsafe(self.close)
        except RuntimeError:  # the loop is closed, and its selector with it
            self.close()

    def abandon_in_child(self) -> None:
        """In a forked child: close the copies of the descriptors; the parent's selector isn't touched."""
        self._closed = True
        self._core.mark_forked()
        self._bell.close()

    def close_at_exit(self) -> None:
        """At the interpreter's end no loop runs any more."""


def _check_policy(config: WalConfig) -> None:
    if config.sync_policy is SyncPolicy.ALWAYS:
        msg = (
            "sync_policy must be COMMIT or INTERVAL for an AsyncWal, got ALWAYS, under which log_mint itself waits for "
            "the disk and would hold up the event loop; under COMMIT `await wal.commit(lsn)` promises the same"
        )
        raise WalConfigError(msg)


async def open(  # noqa: A001 - as walcore.open
    directory: str | os.PathLike[str] | WalConfig, *, create: bool = True, **settings: Unpack[Settings]
) -> AsyncWal:
    """Open the log in `directory` in a thread; arguments and exceptions are those of `walcore.open`, and AsyncWal's.

    If this is cancelled, the thread closes the log as soon as it is open.
    """
    config = config_of(directory, settings)
    _check_policy(config)
    opened: list[Wal] = []
    given_up = threading.Event()

    def close_if_given_up() -> None:
        # Both sides look, each after it did its part: whoever gets the log closes it.
        if given_up.is_set():
            with suppress(IndexError):
                opened.pop().close()

    def work() -> None:
        opened.append(Wal(config, create=create))
        close_if_given_up()

    try:
        await asyncio.to_thread(work)
        return AsyncWal(opened[0])
    except BaseException:
        given_up.set()
        await asyncio.to_thread(close_if_given_up)
        raise


__all__ = ["AsyncWal", "open"]
