"""walcore: a write-ahead log for the values that a store mints, on the segments of RDF4J's ValueStore WAL.

with walcore.open("store/wal") as wal:
    lsn = wal.log_mint(42, walcore.ValueKind.LITERAL, "Zürich", language="de")
    wal.commit(lsn)
for record in walcore.read("store/wal"): ...
pyarrow.RecordBatchReader.from_stream(walcore.read_arrow("store/wal"))      # or as columns
found = walcore.recover("store/wal")        # found.records[42]
walcore.find("store/wal", 42)               # the newest record of id 42, or None
"""

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _sys.platform == "win32":
    _msg = "walcore runs on Linux and macOS: it needs POSIX file locks and syncs, which Windows does not have"
    raise ImportError(_msg)

try:
    from walcore._core import encode as _encode  # noqa: F401
except ImportError as _error:
    if "interpreter" in str(_error):  # CPython's words for an interpreter with its own GIL, Cython's for a second one
        _msg = (
            f"walcore works in one interpreter of a process, and in none that has a GIL of its own ({_error}): open "
            "the log in the main interpreter, or in a process of its own"
        )
        raise ImportError(_msg) from _error
    if not (_error.name or "").startswith("walcore._core"):
        raise
    _msg = (
        f"walcore's compiled core is missing ({_error.name}) in {__path__[0]}.  If that is a checkout, it hides an "
        "installed walcore from programs run there: run them from another folder, or compile it in place by: "
        "pip install -e ."
    )
    raise ImportError(_msg) from _error

from walcore._version import __version__

# Where the public names live.  Each is imported when it is first asked for: a program that only reads, and above all
# the command line's --help, need not wait for the rest.
_HOMES = {
    "arrow": ("ArrowReader", "read_arrow"),
    "config": ("SyncPolicy", "WalConfig"),
    "errors": (
        "CorruptionError", "IncompleteError", "InvalidRecordError", "RecordTooLargeError", "StoreMismatchError",
        "WalClosedError", "WalConfigError", "WalDamageWarning", "WalError", "WalFailedError", "WalFullError",
        "WalLockedError", "WalTimeoutError",
    ),
    "faults": ("Fault", "FaultKind"),
    "opening": ("Opening",),
    "reader": ("ReadMode", "Reader", "Report", "read"),
    "record": ("Record", "ValueKind"),
    "repairing": ("RepairPlan", "RepairStep", "repair"),
    "recovery": ("Conflict", "Recovered", "recover"),
    "search": ("find",),
    "spill": ("SpilledRecords",),
    "stats": ("Stats",),
    "wal": ("Wal", "open"),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

if _TYPE_CHECKING:
    from walcore.arrow import ArrowReader, read_arrow
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
    from walcore.faults import Fault, FaultKind
    from walcore.opening import Opening
    from walcore.reader import Reader, ReadMode, Report, read
    from walcore.record import Record, ValueKind
    from walcore.recovery import Conflict, Recovered, recover
    from walcore.repairing import RepairPlan, RepairStep, repair
    from walcore.search import find
    from walcore.spill import SpilledRecords
    from walcore.stats import Stats
    from walcore.wal import Wal, open  # noqa: A004 - the word that everybody looks for
else:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            msg = f"module 'walcore' has no attribute {name!r}"
            raise AttributeError(msg)
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"walcore.{_HOME[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})


__all__ = [
    "ArrowReader",
    "Conflict",
    "CorruptionError",
    "Fault",
    "FaultKind",
    "IncompleteError",
    "InvalidRecordError",
    "Opening",
    "ReadMode",
    "Reader",
    "Record",
    "RecordTooLargeError",
    "Recovered",
    "RepairPlan",
    "RepairStep",
    "Report",
    "SpilledRecords",
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
    "read_arrow",
    "recover",
    "repair",
]
