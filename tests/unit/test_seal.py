"""Sealing: what comes out, and what stays plain and why."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any

import folders
import oracle
import pytest
from folders import made, mint, plain, put, sealed

from walcore import seal as seal_module
from walcore.frames import check_segment
from walcore.seal import SealError, seal_segment
from walcore.segments import Directory, Segment


@pytest.fixture(params=["isal", "zlib"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(seal_module, "codec", lambda: zlib)
    return str(request.param)


def test_a_segment_becomes_gzip_with_its_summary(directory: Directory, codec: str) -> None:
    content = plain(3, range(5, 4000))
    (segment,) = made(directory, wal_5=content)
    path = seal_segment(directory, segment)
    assert path.name == "wal-5.v1.gz"
    assert sorted(folders.tree(directory.path)) == ["wal-5.v1.gz", "wal-5.v1.gz.walcore-index"]
    assert gzip.decompress(path.read_bytes()) == content + oracle.summary_frame(3999, zlib.crc32(content))
    (found,) = directory.segments()
    assert (found.sealed, found.header) == (True, segment.header)
    check = check_segment(found)
    assert (check.faults, check.summary) == ((), (3999, zlib.crc32(content)))
    # Not with a sanitizer's library, which gunzip's author never met.
    without = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run(["gunzip", "-t", str(path)], check=True, env=without)


def test_sealing_twice_gives_the_same_bytes_without_name_or_time(directory: Directory, codec: str) -> None:
    results = []
    for _ in range(2):
        (segment,) = made(directory, wal_1=plain(1, range(1, 100)))
        path = seal_segment(directory, segment)
        results.append(path.read_bytes())
        path.unlink()
    assert results[0] == results[1]
    assert results[0][3] & 0x1F == 0
    assert results[0][4:8] == bytes(4)


@pytest.mark.parametrize(
    ("frames", "last_id"),
    [(b"", 0), (oracle.mint_frame(1, -7, "I", "urn:x"), 0), (mint(9) + mint(3), 9)],
    ids=["none", "negative", "not rising"],
)
def test_the_summary_has_the_highest_id_above_0(directory: Directory, frames: bytes, last_id: int) -> None:
    content = plain(1, []) + frames
    (segment,) = made(directory, wal_1=content)
    path = seal_segment(directory, segment)
    assert gzip.decompress(path.read_bytes()) == content + oracle.summary_frame(last_id, zlib.crc32(content))


@pytest.mark.parametrize("damage", ["flip", "cut", "zeros"])
def test_a_damaged_segment_stays_plain(directory: Directory, damage: str) -> None:
    content = plain(1, range(1, 50))
    broken = {
        "flip": content[:700] + bytes([content[700] ^ 4]) + content[701:],
        "cut": content[:-3],
        "zeros": content + bytes(64),
    }
    (segment,) = made(directory, wal_1=broken[damage])
    with pytest.raises(SealError, match=r"wal-1\.v1 is damaged: \w+ at byte \d+"):
        seal_segment(directory, segment)
    assert folders.tree(directory.path) == {"wal-1.v1": broken[damage]}


def test_a_sealed_name_that_is_taken_is_not_replaced(directory: Directory) -> None:
    before = {"wal-1.v1": plain(1, [1, 2]), "wal-1.v1.gz": sealed(plain(7, [9]), 9)}
    segment = made(directory, wal_1=before["wal-1.v1"], wal_1_gz=before["wal-1.v1.gz"])[0]
    with pytest.raises(SealError, match=r"wal-1\.v1\.gz is there already"):
        seal_segment(directory, segment)
    assert folders.tree(directory.path) == before


def test_a_segment_that_grew_or_went_is_not_sealed(directory: Directory) -> None:
    (segment,) = made(directory, wal_1=plain(1, [1]))
    with segment.path.open("ab") as file:
        file.write(mint(2))
    with pytest.raises(SealError, match="its size changed"):
        seal_segment(directory, segment)
    copy = plain(1, [1, 2])
    (segment,) = directory.segments()
    segment.path.rename(directory.path / "old")
    segment.path.write_bytes(copy)
    with pytest.raises(SealError, match="another file has its name"):
        seal_segment(directory, segment)
    assert folders.tree(directory.path) == {"wal-1.v1": copy, "old": copy}


@pytest.mark.parametrize("more", [-1, 1])
def test_what_does_not_read_back_is_thrown_away(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    (segment,) = made(directory, wal_1=plain(1, range(1, 100)))
    real = seal_module._compress

    def spoil(segment: Segment, source: int, target: int, *rest: Any) -> object:
        deflate = real(segment, source, target, *rest)
        os.ftruncate(target, os.fstat(target).st_size + more)
        return deflate

    monkeypatch.setattr(seal_module, "_compress", spoil)
    with pytest.raises(SealError, match="can't be read back"):
        seal_segment(directory, segment)
    assert list(folders.tree(directory.path)) == ["wal-1.v1"]


def test_a_kill_at_any_call_leaves_one_or_both_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = plain(1, range(1, 30))
    start = put(tmp_path / "start", wal_1=content)

    def work(path: Path) -> None:
        with Directory(path) as directory:
            seal_segment(directory, directory.segments()[0])

    states = set()
    for _, left in folders.every_kill(monkeypatch, start, work):
        with Directory(left) as directory:
            for segment in directory.segments():
                assert not check_segment(segment).faults
            states.add(tuple(segment.name for segment in directory.segments()))
    assert states == {("wal-1.v1",), ("wal-1.v1", "wal-1.v1.gz"), ("wal-1.v1.gz",)}


def test_the_plain_file_goes_only_after_the_sealed_one_is_on_disk(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = made(directory, wal_1=plain(1, [1]))
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        seal_segment(directory, segment)
    assert [c for c in calls if c not in ("write", "fchmod")] == [
        "open", "fdatasync", "link", "unlink", "unlink", "fsync", "unlink", "fsync"
    ]  # fmt: skip


@pytest.mark.parametrize("error", [MemoryError("no"), OverflowError("no"), OSError(errno.ENOSPC, "no")])
def test_a_segment_is_sealed_without_an_index_that_cannot_be_made(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(seal_module.IndexBuilder, "finish", refuse)
    (segment,) = made(directory, wal_5=plain(3, range(5, 4000)))
    seal_segment(directory, segment)
    assert sorted(folders.tree(directory.path)) == ["wal-5.v1.gz"]
    assert "no index was made" in caplog.text


def test_a_segment_that_has_a_summary_stays_plain(directory: Directory) -> None:
    content = plain(1, [1, 2])
    (segment,) = made(directory, wal_1=content + oracle.summary_frame(2, zlib.crc32(content)))
    with pytest.raises(SealError, match="has a summary"):
        seal_segment(directory, segment)
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1"]
