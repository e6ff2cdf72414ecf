"""The front door: `open` and `Wal`.  Composes the parts; holds no byte logic."""

from __future__ import annotations

import _thread
import logging
import warnings
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack

from walcore.config import Settings, WalConfig
from walcore.errors import WalClosedError
from walcore.live import LiveLog

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Buffer

    from walcore.opening import Opening
    from walcore.record import Record
    from walcore.stats import Stats

    class ArrowArray(Protocol):
        """An array, or a record batch."""

        def __arrow_c_array__(self) -> tuple[object, object]: ...

    class ArrowStream(Protocol):
        """Several, one behind another."""

        def __arrow_c_stream__(self) -> object: ...

    Arrow = ArrowArray | ArrowStream

# A library says nothing unless the program asks to hear it.
logging.getLogger("walcore").addHandler(logging.NullHandler())


class Wal:
    """An open log: one writer, any number of threads.  Made by `walcore.open`.

    Keep it as long as the log is to be open: a method taken from it, such as `wal.log_mint`, does not keep it.

    Once the log is closed, closing or inherited by a forked child, its calls raise WalClosedError, and once a write or
    sync has failed, WalFailedError; but who waits for what is on disk already returns, and the properties still answer.
    """

    def __init__(self, config: WalConfig, *, create: bool = True) -> None:
        self.config = config
        self._live = LiveLog(config, create=create)
        # The compiled methods themselves: a Python frame around them would cost as much as they do.
        for name in ("log_mint", "log_mint_many", "commit", "await_durable"):
            if getattr(type(self), name) is getattr(Wal, name):  # a subclass's own are called as ever
                setattr(self, name, getattr(self._live.core, name))

    # -- logging ------------------------------------------------------------------------------------------------------

    def log_mint(self, id: int, kind: str, lexical: str, datatype: str = "", language: str = "", hash: int = 0) -> int:
        """Log one minted value and return its LSN.

        Under ALWAYS the record is on disk when this returns; else it is in the buffer, and `commit` or `await_durable`
        tell when it is on disk.  Waits while the buffer is full.

        Args:
            id: the value's id in the store, 32 bits, signed.
            kind: a ValueKind or its letter.
            lexical: IRI, label of a blank node, lexical form of a literal, or namespace.  Any str: lone surrogates are
                kept, but a high one before a low one is read back as the one character that they make, as in Java.
            datatype: IRI of a literal's datatype; for other kinds it must be empty.
            language: a literal's language tag; for other kinds it must be empty.
            hash: 32 bits, signed; kept, never used.

        Raises:
            TypeError: an argument has the wrong type.
            InvalidRecordError: a value is out of range; nothing was logged.
            RecordTooLargeError: the frame would hold more than 512 MiB; nothing was logged.
            WalFullError: the disk is full, or the buffer stayed full for `buffer_timeout`.
        """
        return self._live.core.log_mint(id, kind, lexical, datatype, language, hash)

    def log_mint_many(
        self,
        ids: Sequence[int] | int | Buffer | Arrow | Iterable[Record | tuple[Any, ...]],
        kinds: Sequence[str] | str | Arrow | None = None,
        lexicals: Sequence[str] | str | Arrow | None = None,
        datatypes: Sequence[str] | str | Arrow = "",
        languages: Sequence[str] | str | Arrow = "",
        hashes: Sequence[int] | int | Buffer | Arrow = 0,
    ) -> tuple[int, int]:
        """Log many values and return the first and the last LSN.

        Takes six columns of equal length, where one value stands for all rows; or, as its only argument, an iterable of
        Records, whose LSNs are ignored, or of tuples in `log_mint`'s order.  Without any row it returns
        `(last_lsn + 1, last_lsn)`.

        A column may be an Arrow array, of integers or of strings, dictionaries of these included, and `ids` and
        `hashes` any buffer of integers, such as NumPy's.  The only argument may be an Arrow table, record batch or
        stream of these; its columns `id`, `kind`, `lexical` and, if they are there, `datatype`, `language` and `hash`
        are logged, a column `lsn` is ignored.  Where no column is a sequence of objects no object is made for a row,
        and the GIL is released.  An array must not change meanwhile.

        What fits one half of the buffer is checked whole, then logged with consecutive LSNs.  More than that goes slice
        by slice: LSNs of other threads may lie between slices, and an error in a later slice leaves the earlier ones
        logged, which `first_lsn` and `last_lsn` of the error, and a note on it, tell.

        Raises:
            TypeError, InvalidRecordError, RecordTooLargeError: a row is at fault; the message and `row` name its index.
                A null is, and text that isn't UTF-8.
            TypeError: an array isn't of integers, or of strings; a table lacks a column, or has one of another name.
            WalFullError: as for `log_mint`.
        """
        return self._live.core.log_mint_many(ids, kinds, lexicals, datatypes, languages, hashes)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def commit(self, lsn: int | None = None) -> int:
        """Wait until `lsn` is on disk, except under INTERVAL: only `await_durable` waits under every policy.

        Args:
            lsn: None stands for all that was logged so far.

        Returns:
            `durable_lsn` as it then stands.

        Raises:
            ValueError: `lsn` is below 1 or above `last_lsn`.
            WalFullError: the disk is full; the records stay logged, and a later commit tries again.
            WalFailedError: a write or sync failed.
        """
        return self._live.core.commit(lsn)

    def await_durable(self, lsn: int, timeout: float | None = None) -> None:
        """Wait until `lsn` is on disk, under every policy.

        Args:
            lsn: from 1 to `last_lsn`.
            timeout: seconds; None waits for ever.

        Raises:
            ValueError: `lsn` is below 1 or above `last_lsn`.
            WalTimeoutError: the time ran out; the record stays logged.
            WalFullError, WalFailedError: as for `commit`.
        """
        self._live.core.await_durable(lsn, timeout)

    def flush(self) -> None:
        """Give all that was logged so far to the kernel, without a sync: it survives the process, not a power cut."""
        self._live.core.flush()

    # -- segments -----------------------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Finish the segment being written and return when it is on disk; the next record begins another."""
        self._live.core.rotate()

    def purge_all_segments(self) -> None:
        """Delete all that was logged before this call takes its place among the LSNs, which go on.

        Returns when nothing of it can come back.  What is logged after goes to segment 1.

        Raises:
            OSError: the purge could not be begun; the log is as it was.
            WalFailedError: it could not be finished; the next opening does that.
        """
        self._live.core.purge_all()

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> None:
        """Bring everything to the disk, wait for the seals queued, and give the lock back; a second call does nothing.

        Waiters that queued before are served, later ones raise WalClosedError.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            WalTimeoutError: the time ran out; the log is closing, keeps its lock, and `close` may be called again.
            WalFullError: the disk is full; likewise.
            WalFailedError: the log had failed; it is closed, and this is raised once.
        """
        self._live.close(timeout)

    def __enter__(self) -> Self:
        if self.is_closed:
            msg = f"{self.path} was closed: open it anew"
            raise WalClosedError(msg)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        live = getattr(self, "_live", None)
        if live is None or live.closed or live.forked:
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        # Whatever thread the collector runs in may be one that closing waits for.
        try:
            _thread.start_new_thread(live.close_at_exit, ())
        except RuntimeError:
            live.close_at_exit()

    # -- what can be asked at any time --------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The log's folder, absolute."""
        return self._live.path

    @property
    def store_uuid(self) -> str:
        """UUID of the store whose values these are."""
        return self._live.opening.store_uuid

    @property
    def last_lsn(self) -> int:
        """The LSN given last, to this log or in an earlier opening; 0 if none ever was."""
        return self._live.core.last_lsn

    @property
    def written_lsn(self) -> int:
        """The highest LSN whose record the kernel has: it survives the end of this process."""
        return self._live.core.written_lsn

    @property
    def durable_lsn(self) -> int:
        """The highest LSN whose record is on disk."""
        return self._live.core.durable_lsn

    @property
    def has_initial_segments(self) -> bool:
        """Whether the directory held segments when it was opened."""
        return self._live.opening.has_segments

    @property
    def is_closed(self) -> bool:
        """Whether `close` has done its work."""
        return self._live.closed

    @property
    def opening(self) -> Opening:
        """What opening found and did."""
        return self._live.opening

    def stats(self) -> Stats:
        """The log at this moment, in numbers."""
        return self._live.stats()

    def __repr__(self) -> str:
        state = "forked" if self._live.forked else self._live.core.state
        return (
            f"<walcore.Wal {str(self.path)!r} {self.config.sync_policy.value} {state}, LSN {self.last_lsn}, "
            f"written {self.written_lsn}, durable {self.durable_lsn}>"
        )

    def __reduce__(self) -> Any:
        msg = "a Wal can't be pickled: pickle its config, and open the directory in the other process"
        raise TypeError(msg)


def open(  # noqa: A001 - the word that everybody looks for
    directory: str | os.PathLike[str] | WalConfig, *, create: bool = True, **settings: Unpack[Settings]
) -> Wal:
    """Open the log in `directory`, repairing what a crash left, and become its only writer.

    Args:
        directory: the folder (its last part is made if missing), or a WalConfig.
        create: False raises FileNotFoundError instead of making the folder.
        **settings: fields of WalConfig.

    Raises:
        WalConfigError: a setting is out of range.
        WalLockedError: another writer has the directory; `holder` tells who.
        StoreMismatchError: the directory holds the log of another store than `store_uuid`.
        WalFullError: repairing what a crash left needs room that the disk doesn't have; nothing was lost.
        FileNotFoundError, NotADirectoryError, PermissionError: the folder can't be used.
        OSError: reading failed while repairing; nothing unread was changed.
    """
    return Wal(config_of(directory, settings), create=create)


def config_of(directory: str | os.PathLike[str] | WalConfig, settings: Settings) -> WalConfig:
    """What `open` was given, as one."""
    if not isinstance(directory, WalConfig):
        return WalConfig(directory, **settings)
    if settings:
        msg = f"a WalConfig comes alone, not with {', '.join(settings)}"
        raise TypeError(msg)
    return directory


__all__ = ["Wal", "open"]
