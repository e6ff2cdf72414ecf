"""The small file that vouches for what is on disk, so that an opening need not read it all again.

It is written by opening, rotation, close and purge, after what it speaks of has been synced.  If it is missing, garbled
or doesn't fit (RDF4J wrote meanwhile), all is scanned and nothing is lost but time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from walcore.format import STATE_NAME

_VERSION = 1


class Folder(Protocol):
    """What of `segments.Directory` is needed here."""

    def read_line(self, name: str) -> dict[str, Any] | None:
        """The fields of a small checked file, None if there is none that holds."""

    def write_line(self, name: str, fields: dict[str, Any]) -> None:
        """Make `fields` the durable content of a small checked file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Every segment up to `number` is on disk; no LSN up to `last_lsn` may be given out again.

    `header_crc` and `size` (bytes, while plain) are those of segment `number`; with `number` 0 there is no segment.
    `first_number` is the lowest number that the log may begin with: above 1 only when a purge left newer segments of
    RDF4J.  `clean`: the log was closed with segment `number` as its last.
    """

    last_lsn: int
    number: int
    header_crc: int
    size: int
    store: str
    clean: bool
    first_number: int = 1

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
        return State(**fields)
    except TypeError:
        return None


def write_state(directory: Folder, state: State) -> None:
    """Make `state` durable, in place of the one before."""
    directory.write_line(STATE_NAME, {"version": _VERSION} | asdict(state))
