"""Names, numbers and limits of the on-disk contract: what RDF4J and walcore must agree on.

The bytes themselves are described in `docs/format.md`.  Nothing here may change without breaking logs that exist.
"""

from __future__ import annotations

import re
from typing import Final

FORMAT_VERSION: Final = 1
ENGINE: Final = "valuestore"

# A frame: u32 LE length of the JSON | JSON ending in one "\n" (counted) | u32 LE CRC-32C of the JSON.
LENGTH_SIZE: Final = 4
CRC_SIZE: Final = 4
FRAME_OVERHEAD: Final = LENGTH_SIZE + CRC_SIZE
# A length above this is no frame.  It protects a reader from allocating what a damaged length claims.
MAX_JSON_BYTES: Final = 512 * 1024 * 1024

MIN_INT32: Final = -(2**31)
MAX_INT32: Final = 2**31 - 1
MAX_LSN: Final = 2**63 - 1

# What RDF4J sees as a segment.  It must match in full; every other name is invisible to it.
SEGMENT_NAME: Final = re.compile(r"wal-([0-9]+)\.v1(\.gz)?")
# The original writes a first id below zero so, and can't see the file afterwards; reading and purging here do.
NEGATIVE_SEGMENT_NAME: Final = re.compile(r"wal-(-[0-9]+)\.v1(\.gz)?")
SEALED_SUFFIX: Final = ".gz"
# How many leading zeros are tried in front of a name that is taken before the next free number is used.
MAX_NAME_ZEROS: Final = 64

# Names of ours, none of which SEGMENT_NAME matches.
LOCK_NAME: Final = "lock"
STATE_NAME: Final = "walcore.state"
PURGE_NAME: Final = "walcore.purge"
QUARANTINE_NAME: Final = "quarantine"
TEMPORARY_SUFFIX: Final = ".walcore-tmp"
# Beside a sealed segment, `wal-N.v1.gz.walcore-index`: see `walcore.index`.
INDEX_SUFFIX: Final = ".walcore-index"
# How what has a segment's name, and is a link, folder or device, is told of.
NOT_REGULAR: Final = "not a regular file"
# Names made from a segment's name, that of its copy in the quarantine above all, have to stay below 256 bytes.
MAX_NAME_CHARS: Final = 160
NAME_TOO_LONG: Final = "its name is too long, rename it"


def is_segment_name(name: str) -> bool:
    """Whether `name` is one that the format gives to a segment, negative first ids included."""
    return bool(SEGMENT_NAME.fullmatch(name) or NEGATIVE_SEGMENT_NAME.fullmatch(name))


def is_index_name(name: str) -> bool:
    """Whether `name` is that of the index of a sealed segment."""
    base = name.removesuffix(INDEX_SUFFIX)
    return base != name and base.endswith(SEALED_SUFFIX) and is_segment_name(base)


def segment_name(first_id: int, zeros: int = 0) -> str:
    """The file name of a plain segment whose first record has `first_id`; a negative one is named as 0."""
    return f"wal-{'0' * zeros}{max(first_id, 0)}.v1"
