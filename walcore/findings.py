"""What a diagnosis of a log holds: its segments as they are to be, what goes aside, what is wrong and what is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from walcore.spans import Spans

if TYPE_CHECKING:
    from walcore.faults import Fault
    from walcore.salvage import Salvage
    from walcore.state import Loss, State


@dataclass(slots=True)
class Place:
    """A segment of the log as it is to be: `sources` give its frames, the first one its name; `why` it has to be
    written anew, "" if it stays as it is.
    """

    number: int
    sources: list[Salvage]
    why: str = ""
    header: bytes | None = None

    @property
    def lsns(self) -> Spans:
        """The LSNs of its records."""
        found = Spans()
        for source in self.sources:
            found |= source.lsns
        return found


@dataclass(frozen=True, slots=True)
class Gap:
    """A number without a segment, and the id that one without records is named after."""

    number: int
    first_id: int
    created: int


@dataclass(slots=True)
class Diagnosis:
    """What there is, in what order, and what is wrong with it.

    `store`: whose log it is, "" where nothing is there that could tell.  `first`: the number that the log begins with
    if nothing is missing.  `marker_damaged`: a purge's marker is there and can't be read.  `aside`: files that are no
    part of the log, and why.  `lost`: the LSNs that damage can have taken at most; of the last range the end is None
    where nothing tells it.  `lost_ids`: the ids known to be among them.
    """

    store: str
    state: State | None
    first: int = 1
    places: list[Place] = field(default_factory=list)
    aside: list[tuple[Salvage, str]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    losses: tuple[Loss, ...] = ()
    marker_damaged: bool = False
    lost: list[tuple[int, int | None]] = field(default_factory=list)
    lost_ids: set[int] = field(default_factory=set)

    @property
    def highest_lsn(self) -> int:
        """The greatest LSN that was given out, as far as it can be known."""
        files = [source for place in self.places for source in place.sources] + [one for one, _ in self.aside]
        return max([self.state.last_lsn if self.state else 0, *(one.highest_lsn for one in files)])
