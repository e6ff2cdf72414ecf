"""What a file says of itself makes nobody allocate: memory stays within what the data needs, whoever made the files.

The long form (WALCORE_LONG=1) makes each folder ten times as large and tries every operation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hostile
import pytest
from folders import plain, put
from hostile import FOLDERS, MIB
from surroundings import OPERATIONS

import walcore

LONG = bool(os.environ.get("WALCORE_LONG"))
LIMIT_MIB = 64 if LONG else 20
SHORT = ("read SALVAGE", "find", "info", "open")
# A frame whose checksum holds is data.  In any but the usual form it is held twice, and ujson takes four bytes for each
# character of a string.
NEEDED_MIB = {
    "huge_header": 2 * 512,
    "wide_json": 2 * hostile.WIDE // MIB,
    "long_strings": 8 * hostile.WIDE // MIB,
}

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")


def rises(tmp_path: Path, folder: Path, *operations: str) -> dict[str, int]:
    """How many MiB each operation took at its height."""
    warm = put(tmp_path / "warm", wal_1=plain(1, [1]))
    tests = Path(hostile.__file__).parent
    path = os.pathsep.join([str(tests), str(Path(walcore.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-P", tests / "peaks.py", folder, warm, *operations],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_no_folder_takes_more_memory_than_it_holds(tmp_path: Path, make: Callable[[Path], None]) -> None:
    if make is hostile.huge_header and not LONG:
        pytest.skip("takes a gigabyte: with WALCORE_LONG=1")
    wal = tmp_path / "wal"
    wal.mkdir()
    make(wal)
    found = rises(tmp_path, wal, *(OPERATIONS if LONG else SHORT))
    limit = LIMIT_MIB + NEEDED_MIB.get(make.__name__, 0)
    print(f"{make.__name__}: {max(found.values())} MiB at most, {limit} allowed")
    assert {name: rise for name, rise in found.items() if rise > limit} == {}
    shutil.rmtree(wal)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zeros", b"\0"),
        ("deep", b'{"kind":"I","lexical":' + b"[" * 1_000_000),
        ("wide", b'{"kind":"I","lexical":"x","a":[' + b"[]," * (8 * MIB // 3) + b"[]]}"),
        ("long value", b'{"kind":"I","lexical":[' + b'"' + b"x" * 8 * MIB + b'"]}'),
    ],
)
def test_no_line_takes_more_memory_than_eight_times_its_length(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / "hostile.ndjson"
    size = (hostile.FRAME + 1 if LONG else 32 * MIB) if name == "zeros" else len(content)
    hostile.sparse(file, size, content)
    ((_, rise),) = rises(tmp_path, tmp_path, f"load {file}").items()
    assert rise <= LIMIT_MIB + 8 * size // MIB


SEALING = """
import itertools, pathlib, sys, time, walcore
def peak():
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
ids, texts = itertools.count(), [f"value {n} " + "x" * 60 for n in range(4096)]
with walcore.open(sys.argv[1], max_segment_bytes=16 << 20) as wal:
    for sealed in (6, 24):
        while wal.stats().sealed < sealed:
            wal.log_mint_many(list(itertools.islice(ids, 4096)), "L", texts)
            while wal.stats().seal_backlog > 1:
                time.sleep(0.001)
        print(peak())
"""


def test_sealing_many_segments_takes_no_more_memory_than_sealing_some(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEALING, tmp_path / "wal"], capture_output=True, text=True, timeout=300, check=True
    )
    some, many = map(int, done.stdout.split())
    print(f"{many - some} KiB more")
    assert many - some < 1024
