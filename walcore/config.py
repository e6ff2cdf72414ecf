"""How a log is to be kept: `WalConfig`, checked field by field when it is built, and `SyncPolicy`."""

from __future__ import annotations

import math
import operator
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypedDict

from walcore.errors import WalConfigError

MIB: Final = 1024 * 1024
MIN_SEGMENT_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 1 << 40
MIN_BUFFER_BYTES: Final = 4096
MAX_BUFFER_BYTES: Final = 1 << 30
MAX_SEGMENTS: Final = 1 << 20
MAX_SECONDS: Final = 86_400.0 * 365
DEFAULT_FILE_MODE: Final = 0o640
# Reading and writing for its owner, and no more than that for anybody else.
MIN_FILE_MODE: Final = 0o600
MAX_FILE_MODE: Final = 0o666
_MAX_BITS: Final = 128


class SyncPolicy(StrEnum):
    """When a record is on disk; `docs/durability.md` tells what each promises and what it doesn't."""

    ALWAYS = "ALWAYS"
    """`log_mint` returns when its record is on disk."""
    COMMIT = "COMMIT"
    """`commit` returns when the record is on disk."""
    INTERVAL = "INTERVAL"
    """A sync follows at most `sync_interval` seconds after a record was logged; `commit` doesn't wait for it."""


class Settings(TypedDict, total=False):
    """What `walcore.open` takes beside the directory; the fields of WalConfig."""

    store_uuid: str | uuid.UUID | None
    sync_policy: SyncPolicy | str
    sync_interval: float | timedelta
    max_segment_bytes: int
    batch_buffer_bytes: int
    preallocate_bytes: int
    max_unsealed_segments: int
    buffer_timeout: float | timedelta | None
    on_force: Callable[[Path], object] | None
    file_mode: int | None


@dataclass(frozen=True, kw_only=True)
class WalConfig:
    """The settings of one log.  Immutable and picklable (as long as `on_force` is).

    Raises:
        WalConfigError: a value is out of range (also a ValueError); the message names field, range and value.
        TypeError: a value has the wrong type.
    """

    directory: Path
    """Folder of the segments (str or path); only its last part is made by `open`."""
    store_uuid: str | None = None
    """UUID of the store (str or uuid.UUID).  None takes that of the directory, or makes one."""
    sync_policy: SyncPolicy = SyncPolicy.COMMIT
    sync_interval: float = 1.0
    """Seconds (or a timedelta) from a record to the sync that covers it, under INTERVAL."""
    max_segment_bytes: int = 128 * MIB
    """A frame that would take a segment above this many bytes, header included, begins the next one."""
    batch_buffer_bytes: int = MIB
    """Bytes of each of the two halves of the buffer."""
    preallocate_bytes: int = 0
    """Bytes that the file being written is lengthened ahead of its records, zeros, on Linux: a sync that need not write
    a new size costs less, which one client that commits each record gains from.  They are cut off when the segment is
    finished and by the next opening.  0 is none; a MiB is plenty."""
    max_unsealed_segments: int = 16
    """Finished segments that may wait to be sealed, beside those that `open` found.  Who logs faster than they are
    sealed waits, as for room in the buffer, where the segment being written is full."""
    buffer_timeout: float | None = None
    """Seconds that a producer waits for room in the buffer; None waits for ever."""
    on_force: Callable[[Path], object] | None = None
    """Called with the path of each file synced, in order, on the sealer's thread, which on Linux gives way to all
    others; it must not wait for the log."""
    file_mode: int | None = None
    """Permissions of new files, such as 0o600.  None is 0o640 less what the umask takes; a number counts as it is,
    whatever the umask.  A folder made by `open` has the same and x where there is r.  What is made of a file that is
    there (a copy, a sealed segment) keeps that file's."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        store_uuid: str | uuid.UUID | None = None,
        sync_policy: SyncPolicy | str = SyncPolicy.COMMIT,
        sync_interval: float | timedelta = 1.0,
        max_segment_bytes: int = 128 * MIB,
        batch_buffer_bytes: int = MIB,
        preallocate_bytes: int = 0,
        max_unsealed_segments: int = 16,
        buffer_timeout: float | timedelta | None = None,
        on_force: Callable[[Path], object] | None = None,
        file_mode: int | None = None,
    ) -> None:
        values = {
            "directory": _directory(directory),
            "store_uuid": checked_store_uuid(store_uuid),
            "sync_policy": _policy(sync_policy),
            "sync_interval": _seconds("sync_interval", sync_interval, positive=True),
            "max_segment_bytes": _bytes("max_segment_bytes", max_segment_bytes, MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
            "batch_buffer_bytes": _bytes(
                "batch_buffer_bytes", batch_buffer_bytes, MIN_BUFFER_BYTES + 1, MAX_BUFFER_BYTES
            ),
            "preallocate_bytes": _bytes("preallocate_bytes", preallocate_bytes, 0, MAX_BUFFER_BYTES),
            "max_unsealed_segments": _within("max_unsealed_segments", max_unsealed_segments, 1, MAX_SEGMENTS),
            "buffer_timeout": (
                None if buffer_timeout is None else _seconds("buffer_timeout", buffer_timeout, positive=False)
            ),
            "on_force": _callable(on_force),
            "file_mode": None if file_mode is None else _file_mode(file_mode),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _directory(value: Any) -> Path:
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        msg = f"directory must be a str or a path of str, not {type(path).__name__}"
        raise TypeError(msg)
    if not path or "\0" in path:
        msg = f"directory must be a path without NUL and not empty, got {path!r}"
        raise WalConfigError(msg)
    return Path(path)


def checked_store_uuid(value: Any) -> str | None:
    """The uuid in the form that headers have.  Raises WalConfigError (no uuid), TypeError (no str or uuid.UUID)."""
    if value is None or isinstance(value, uuid.UUID):
        return None if value is None else str(value)
    if not isinstance(value, str):
        msg = f"store_uuid must be a str, a uuid.UUID or None, not {type(value).__name__}"
        raise TypeError(msg)
    try:
        return str(uuid.UUID(value))
    except ValueError:
        msg = f"store_uuid must be a UUID such as 123e4567-e89b-12d3-a456-426614174000, got {value!r}"
        raise WalConfigError(msg) from None


def _policy(value: Any) -> SyncPolicy:
    if not isinstance(value, str):
        msg = f"sync_policy must be a SyncPolicy or its name, not {type(value).__name__}"
        raise TypeError(msg)
    try:
        return SyncPolicy(value.upper())
    except ValueError:
        msg = f"sync_policy must be one of {', '.join(SyncPolicy)}, got {value!r}"
        raise WalConfigError(msg) from None


def _seconds(name: str, value: Any, *, positive: bool) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}"
        raise TypeError(msg)
    if not math.isfinite(value) or value < 0 or (positive and value == 0) or value > MAX_SECONDS:
        low = "above 0" if positive else "0 or more"
        msg = f"{name} must be {low} and at most {MAX_SECONDS:.0f} seconds, got {value!r}"
        raise WalConfigError(msg)
    return float(value)


def _file_mode(value: Any) -> int:
    mode = _integer("file_mode", value)
    if mode & MIN_FILE_MODE != MIN_FILE_MODE or mode & MAX_FILE_MODE != mode:
        msg = f"file_mode must be from {MIN_FILE_MODE:#o} to {MAX_FILE_MODE:#o}, without x, got {mode:#o} ({mode})"
        raise WalConfigError(msg)
    return mode


def _bytes(name: str, value: Any, low: int, high: int) -> int:
    return _within(name, value, low, high, " bytes")


def _within(name: str, value: Any, low: int, high: int, unit: str = "") -> int:
    number = _integer(name, value)
    if not low <= number <= high:
        msg = f"{name} must be from {low} to {high}{unit}, got {number}"
        raise WalConfigError(msg)
    return number


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool):
        msg = f"{name} must be an int, not bool"
        raise TypeError(msg)
    try:
        number: int = operator.index(value)
    except TypeError:
        msg = f"{name} must be an int, not {type(value).__name__}"
        raise TypeError(msg) from None
    if number.bit_length() > _MAX_BITS:  # Python refuses to print thousands of digits
        msg = f"{name} is out of range, got an int of {number.bit_length()} bits"
        raise WalConfigError(msg)
    return number


def _callable(value: Any) -> Callable[[Path], object] | None:
    if value is not None and not callable(value):
        msg = f"on_force must be callable or None, not {type(value).__name__}"
        raise TypeError(msg)
    return value  # type: ignore[no-any-return]
