"""walcore: a write-ahead log for the values that a store mints, on the segments of RDF4J's ValueStore WAL.

with walcore.open("store/wal") as wal:
    lsn = wal.log_mint(42, walcore.ValueKind.LITERAL, "Zürich", language="de")
    wal.commit(lsn)
for record in walcore.read("store/wal"): ...
found = walcore.recover("store/wal")        # found.records[42]
walcore.find("store/wal", 42)               # the newest record of id 42, or None
"""

import logging as _logging
import sys as _sys

if _sys.platform == "win32":
    _msg = "walcore runs on Linux and macOS: it needs POSIX file locks and syncs, which Windows does not have"
    raise ImportError(_msg)

try:
    import walcore._core.writer as _writer  # noqa: F401
except ModuleNotFoundError as _error:
    if not (_error.name or "").startswith("walcore._core"):
        raise
    _msg = f"walcore's compiled core is missing ({_error.name}); in a checkout of walcore run: pip install -e ."
    raise ImportError(_msg) from _error

from walcore._version import __version__
from walcore.config import SyncPolicy, WalConfig
from walcore.errors import (
    CorruptionError,
    IncompleteError,
    InvalidRecordError,
    RecordTooLargeError,
    StoreMismatchError,
    WalClosedError,
    WalConfigError,
    WalDamageWarning,
    WalError,
    WalFailedError,
    WalFullError,
    WalLockedError,
    WalTimeoutError,
)
from walcore.frames import Fault, FaultKind
from walcore.reader import Reader, ReadMode, Report, read
from walcore.record import Record, ValueKind
from walcore.recovery import Conflict, Recovered, recover
from walcore.search import find
from walcore.stats import Stats
from walcore.wal import Wal, open  # noqa: A004 - the word that everybody looks for

_logging.getLogger("walcore").addHandler(_logging.NullHandler())

__all__ = [
    "Conflict",
    "CorruptionError",
    "Fault",
    "FaultKind",
    "IncompleteError",
    "InvalidRecordError",
    "ReadMode",
    "Reader",
    "Record",
    "RecordTooLargeError",
    "Recovered",
    "Report",
    "Stats",
    "StoreMismatchError",
    "SyncPolicy",
    "ValueKind",
    "Wal",
    "WalClosedError",
    "WalConfig",
    "WalConfigError",
    "WalDamageWarning",
    "WalError",
    "WalFailedError",
    "WalFullError",
    "WalLockedError",
    "WalTimeoutError",
    "__version__",
    "find",
    "open",
    "read",
    "recover",
]
