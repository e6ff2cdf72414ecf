"""The small file that vouches for what is on disk, so that an opening need not read it all again.

It is written by opening, rotation, close and purge, after what it speaks of has been synced.  If it is missing, garbled
or doesn't fit (RDF4J wrote meanwhile), all is scanned and nothing is lost but time.
"""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from walcore.format import MAX_INT32, MAX_LSN, STATE_NAME
from walcore.headers import is_store

_VERSION = 1
_MAX_UINT32 = 2**32 - 1


class Folder(Protocol):
    """What of `segments.Directory` is needed here."""

    def read_line(self, name: str) -> dict[str, Any] | None:
        """The fields of a small checked file, None if there is none that holds."""

    def write_line(self, name: str, fields: dict[str, Any]) -> None:
        """Make `fields` the durable content of a small checked file."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A segment of `size` bytes, while plain, that was on disk and isn't now; if `short`, only its end went."""

    number: int
    header_crc: int
    size: int
    short: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Every segment up to `number` is on disk; no LSN up to `last_lsn` may be given out again.

    `header_crc` and `size` (bytes, while plain) are those of segment `number`; with `number` 0 there is no segment.
    `first_number` is the lowest number that the log may begin with: above 1 only when a purge left newer segments of
    RDF4J.  `clean`: the log was closed with segment `number` as its last.  `losses` is what a state vouched for
    and an opening didn't find: it stays known until a purge, or until it is back, since a later state can't tell of it.
    """

    last_lsn: int
    number: int
    header_crc: int
    size: int
    store: str
    clean: bool
    first_number: int = 1
    losses: tuple[Loss, ...] = ()

    def fits(self, number: int, header_crc: int, plain_size: int | None) -> bool:
        """Whether a segment is the one vouched for; `plain_size` is None for a sealed one, whose size may differ."""
        same = (number, header_crc) == (self.number, self.header_crc)
        return same and (plain_size is None or plain_size == self.size)


def read_state(directory: Folder) -> State | None:
    """The state of a log; None if there is none that can be believed.  Raises OSError when it can't be read."""
    fields = directory.read_line(STATE_NAME)
    if fields is None or fields.pop("version", None) != _VERSION:
        return None
    try:
        state = State(**fields | {"losses": tuple(Loss(**loss) for loss in fields.get("losses", ()))})
    except TypeError:
        return None
    return state if _is_sound(state) else None


def _is_sound(state: State) -> bool:
    """Whether every field is what `write_state` was given: who can write the file can put anything there."""
    files = ((loss.number, loss.header_crc, loss.size, loss.short) for loss in state.losses)
    return (
        _in_range(state.last_lsn, 0, MAX_LSN)
        and _in_range(state.first_number, 1, MAX_INT32)
        and is_store(state.store)
        and all(
            _in_range(number, 0, MAX_INT32)
            and _in_range(crc, 0, _MAX_UINT32)
            and _in_range(size, 0, MAX_LSN)
            and isinstance(flag, bool)
            for number, crc, size, flag in ((state.number, state.header_crc, state.size, state.clean), *files)
        )
    )


def _in_range(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def find_state(directory: Folder) -> State | None:
    """`read_state` for those who only read: a state file that isn't theirs to read, or is no file, says nothing."""
    try:
        return read_state(directory)
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL):
            raise
        return None


def write_state(directory: Folder, state: State) -> None:
    """Make `state` durable, in place of the one before."""
    directory.write_line(STATE_NAME, {"version": _VERSION} | asdict(state))
