"""Operations as RDF4J's harness takes them, carried out by walcore, and logs cut up for comparing."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import oracle

import walcore


def replay(ops: Path, directory: Path, **config: Any) -> None:
    """Carry out the lines of an `ops.jsonl`; each `close` begins a new session."""
    wal = walcore.open(directory, **config)
    for line in ops.read_text().splitlines():
        match json.loads(line):
            case {"op": "mint", **columns}:
                wal.log_mint(*(columns[key] for key in ("id", "vk", "lex", "dt", "lang", "hash")))
            case {"op": "sync"}:
                wal.await_durable(wal.last_lsn)
            case {"op": "close"}:
                wal.close()
                wal = walcore.open(directory, **config)
            case unknown:
                msg = f"{ops} holds an operation that isn't known here: {unknown}"
                raise ValueError(msg)
    wal.close()


def minted(ops: Path) -> list[tuple[Any, ...]]:
    """What a reader must yield for an `ops.jsonl`: (lsn, id, kind, lexical, datatype, language, hash)."""
    rows = [row for row in map(json.loads, ops.read_text().splitlines()) if row["op"] == "mint"]
    return [
        (lsn, row["id"], row["vk"], row["lex"], row["dt"], row["lang"], row["hash"]) for lsn, row in enumerate(rows, 1)
    ]


def segments(directory: Path) -> list[tuple[str, list[bytes]]]:
    """Name (of the plain segment) and frames of each, in order; `created` as 0, no summaries."""
    found = []
    for path in directory.glob("wal-*"):
        plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        frames = oracle.frames(plain)
        header = oracle.parse(frames[0])
        frames[0] = oracle.frame(re.sub(r'"created":\d+', '"created":0', frames[0][4:-5].decode()))
        if oracle.parse(frames[-1])["t"] == "S":
            frames.pop()
        found.append((header["segment"], path.name.removesuffix(".gz"), frames))
    return [(name, frames) for _, name, frames in sorted(found)]


def summaries(directory: Path) -> dict[str, int]:
    """The highest id that the summary of each sealed segment tells."""
    sealed = {path.name: oracle.frames(gzip.decompress(path.read_bytes()))[-1] for path in directory.glob("*.gz")}
    return {name: oracle.parse(frame)["lastId"] for name, frame in sealed.items()}
