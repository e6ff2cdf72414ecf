"""Openings of logs made by hand, and what a reader reports of them."""

from __future__ import annotations

import warnings
from pathlib import Path

from folders import STORE

from walcore.opening import Opening, open_directory
from walcore.reader import Report, read
from walcore.segments import Directory
from walcore.state import State, write_state


def reopen(path: Path, store: str | None = None) -> Opening:
    with Directory(path) as directory:
        return open_directory(directory, store)


def close_cleanly(path: Path, last_lsn: int, *, clean: bool = True) -> State:
    """What a log leaves that was closed, or rotated, with its highest segment."""
    with Directory(path) as directory:
        last = directory.segments()[-1]
        assert last.header is not None
        state = State(
            last_lsn=last_lsn, number=last.number, header_crc=last.header.crc, size=last.size, store=STORE, clean=clean
        )
        write_state(directory, state)
    return state


def passed(path: Path) -> Report:
    """What a pass over the log reports."""
    reader = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in reader:
            pass
    return reader.report
