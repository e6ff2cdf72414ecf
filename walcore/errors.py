"""Every exception and warning that walcore raises on purpose.

All errors descend from `WalError`.  Where Python has a built-in of the same meaning, the class descends from that as
well, so `except ValueError` or `except TimeoutError` do what their names say.  A wrong *type* is a plain `TypeError`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class WalError(Exception):
    """Base of all errors of walcore."""


class WalConfigError(WalError, ValueError):
    """A configuration field is out of range; the message names the field, what is allowed and what came."""


class StoreMismatchError(WalError, ValueError):
    """The directory holds the log of another store than the one asked for; nothing was written."""


class InvalidRecordError(WalError, ValueError):
    """A record can't be written: a value is out of range.  Nothing of its slice was logged.

    `field` is the name of the argument at fault, `row` its index in `log_mint_many` (None for `log_mint`).  Raised
    after earlier slices of one `log_mint_many`, `first_lsn` and `last_lsn` tell what had been logged by then (else
    None).
    """

    def __init__(self, message: str, *, field: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.row = row
        self.first_lsn: int | None = None
        self.last_lsn: int | None = None


class RecordTooLargeError(InvalidRecordError):
    """The record's frame would be above the format's limit of 512 MiB of JSON; nothing was logged."""


class WalLockedError(WalError, BlockingIOError):
    """Another writer, of this or another process, walcore or RDF4J, has the directory.

    `holder` has the keys that could be known of `pid` (int), `host` (str) and `since` (str, ISO 8601, UTC); it is
    empty when nothing could.
    """

    def __init__(self, message: str, *, holder: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.errno = errno.EWOULDBLOCK
        self.holder: dict[str, Any] = dict(holder or {})


class WalClosedError(WalError):
    """The log is closed, closing, or was inherited by a forked child; what the call asked for was not done.

    Of an interrupted `log_mint_many`, `first_lsn` and `last_lsn` tell what it had logged (else None).
    """

    first_lsn: int | None = None
    last_lsn: int | None = None


class WalTimeoutError(WalError, TimeoutError):
    """A wait ran out.  The record stays logged; `durable_lsn` is the highest LSN known to be on disk."""

    def __init__(self, message: str, *, durable_lsn: int = 0) -> None:
        super().__init__(message)
        self.durable_lsn = durable_lsn


class WalFullError(WalError):
    """No room: the disk is full (`__cause__` is the OSError) or the buffer stayed full for `buffer_timeout` seconds.

    What has an LSN stays logged and is written by the next drain that finds room.  `first_lsn` and `last_lsn` tell what
    an interrupted `log_mint_many` had logged (else None).
    """

    first_lsn: int | None = None
    last_lsn: int | None = None


class WalFailedError(WalError):
    """A write or sync failed; the log is failed for good and nothing after `durable_lsn` is acknowledged.

    Records above `durable_lsn` may or may not be in the log.  Open the directory anew: that recovers what is there.
    `call` is the system call, `path` the file it was made on, `__cause__` the OSError.
    """

    def __init__(self, message: str, *, call: str = "", path: str = "", durable_lsn: int = 0) -> None:
        super().__init__(message)
        self.call = call
        self.path = path
        self.durable_lsn = durable_lsn
        self.first_lsn: int | None = None
        self.last_lsn: int | None = None


class CorruptionError(WalError):
    """Damage met by a reader in mode STRICT.

    `kind` of fault, `segment` (file name), `offset` (bytes, of the plain content) and `lsn`, the last whole record's
    before it (None if there is none).
    """

    def __init__(
        self, message: str, *, kind: str = "", segment: str = "", offset: int = 0, lsn: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.segment = segment
        self.offset = offset
        self.lsn = lsn


class IncompleteError(WalError):
    """Recovery met damage: `records` is what could be read, `report` what is missing.

    Call `recover(..., allow_incomplete=True)` to get the same without the exception.
    """

    def __init__(self, message: str, *, records: Any = None, report: Any = None) -> None:
        super().__init__(message)
        self.records = records
        self.report = report


class WalDamageWarning(UserWarning):
    """A reader went on past damage; its `report` tells what was met."""
