"""What is measured: the one table of sizes that walcore, its rivals and the regression gate share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024
XSD_STRING: Final = "http://www.w3.org/2001/XMLSchema#string"

WRITING: Final = ("append", "log_mint", "log_mint_many")
READING: Final = ("scan", "recover", "find", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sizes of one run of the table."""

    pairs: int
    """Interleaved pairs of walcore and a rival; a ratio is the median of theirs."""
    commit_pairs: int
    """The same for one client's commits: a sync is the noisiest thing there is, and such a pair is cheap."""
    records: int
    """Records of a bulk load, and of the log that is scanned, recovered and searched."""
    lexical_chars: int = 32
    segment_bytes: int = 128 * MIB
    commits: int
    """Commits of one client in one run."""
    clients: tuple[int, ...] = (8, 64)
    client_commits: int
    """Commits of all clients together in one run."""
    original_seconds: float
    """Each of the original's three rounds of commits runs this long."""
    load_bytes: int
    """Bytes of frames in the load whose memory is looked at."""
    load_lexical_chars: int = 256
    open_segments: tuple[int, ...]
    """Opening is timed on logs of so many segments."""
    open_segment_bytes: int = MIB
    rounds: int
    """Rounds of each question that has no rival."""

    @property
    def questions(self) -> list[str]:
        """All that run.py can be asked."""
        return [*WRITING, *(f"commit-{clients}" for clients in (1, *self.clients)), *READING]


FULL: Final = Parameters(
    pairs=7,
    commit_pairs=21,
    records=300_000,
    commits=1000,
    client_commits=24_000,
    original_seconds=0.5,
    load_bytes=1024 * MIB,
    open_segments=(1, 64),
    rounds=7,
)
QUICK: Final = Parameters(
    pairs=3,
    commit_pairs=5,
    records=60_000,
    commits=300,
    client_commits=6400,
    original_seconds=0.2,
    load_bytes=384 * MIB,
    open_segments=(1, 8),
    rounds=3,
)
TINY: Final = Parameters(
    pairs=2,
    commit_pairs=2,
    records=5000,
    commits=50,
    client_commits=640,
    original_seconds=0.1,
    load_bytes=20 * MIB,
    segment_bytes=2 * MIB,
    open_segments=(1, 3),
    open_segment_bytes=MIB // 4,
    rounds=2,
)
SCALES: Final = {"full": FULL, "quick": QUICK, "tiny": TINY}
