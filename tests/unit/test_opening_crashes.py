"""Opening cut off at any of its own calls: the next one comes to the same end."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import folders
import pytest
from folders import mint, plain, put, sealed, tree
from openings import reopen


def wreck(path: Path) -> Path:
    """A directory with all that an opening repairs."""
    one = plain(1, range(1, 4))
    put(path, wal_1=one, wal_1_gz=sealed(one, 3))
    two = plain(2, range(4, 8))
    put(path, wal_4=two, wal_4_gz=sealed(two, 7)[:-20], wal_8=plain(3, [8, 9]) + mint(10)[:-9] + bytes(16) + mint(11))
    put(path, wal_9=b"", wal_10=plain(4, [10])[:60])
    (path / "wal-11.v1.walcore-tmp").write_bytes(b"half")
    return path


def survivors(files: dict[str, bytes]) -> set[bytes]:
    return {data for name, data in files.items() if not name.endswith((".walcore-tmp", "walcore.state"))}


@pytest.mark.parametrize("error", [folders.Killed, lambda: OSError(errno.ENOSPC, "No space left on device")])
def test_an_opening_cut_off_at_any_call_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    start = wreck(tmp_path / "wal")
    whole = tmp_path / "whole"
    shutil.copytree(start, whole)
    expected = reopen(whole)
    cut_off = 0
    for nth, copy in folders.every_kill(monkeypatch, start, reopen, error):
        files = tree(copy)
        for data in (plain(1, range(1, 4)), plain(2, range(4, 8))):
            assert any(found.startswith(data) for found in files.values()) or "wal-1.v1.gz" in files
        opening = reopen(copy)
        assert (opening.next_lsn, opening.next_number) == (expected.next_lsn, expected.next_number) == (12, 4)
        assert tree(copy) == tree(whole)
        cut_off += nth > 0
    assert cut_off > 30


def test_a_single_error_at_any_call_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = wreck(tmp_path / "wal")
    whole = tmp_path / "whole"
    shutil.copytree(start, whole)
    reopen(whole)
    for nth in range(1, 200):
        copy = tmp_path / f"once-{nth}"
        shutil.copytree(start, copy)
        with folders.failing(
            monkeypatch, nth, lambda: OSError(errno.EIO, "Input/output error"), for_ever=False
        ) as calls:
            try:
                reopen(copy)
            except OSError as exc:
                assert exc.filename is not None
        if len(calls) < nth:
            break
        reopen(copy)
        assert survivors(tree(copy)) >= survivors(tree(whole))
    assert nth > 30
