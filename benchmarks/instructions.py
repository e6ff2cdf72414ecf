"""instructions.py [--accept]: fails when a hot path takes other numbers of instructions a record than the table says.

Times wander, counts of instructions don't.  Each path is gone through twice in one process under valgrind; what the
second pass took is compared with `instructions.toml`, which --accept writes anew.  The same sources give other counts
by another Python, compiler, C library, valgrind or processor: the table names those that it was made with, and beside
others nothing is compared.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TABLE: Final = Path(__file__).with_suffix(".toml")
RECORDS: Final = 40_000
LEXICAL_CHARS: Final = 32
FRAME_BYTES: Final = 160
LIMIT: Final = 0.03
# Valgrind writes down what was counted so far, and begins anew, whenever this function of the C library is called;
# nothing else here calls it.
MARK: Final = "getpriority"
ACCEPT: Final = "if that is meant, run tox -e instructions -- --accept"
Counts = Mapping[str, float]
Key = Mapping[str, str]


def key() -> dict[str, str]:
    """What the counts depend on beside the sources."""
    from walcore._core import encode

    compilers = re.findall(rb"(?:GCC: \([^)]*\)|clang version) [\d.]+", Path(encode.__file__).read_bytes())
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set()
    return {
        "python": " ".join(sys.version.split()),
        "compiler": compilers[0].decode() if compilers else "unknown",
        "cython": next((name for name in sys.modules if name.startswith("_cython_")), "unknown"),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": subprocess.run(
            ["valgrind", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        # The C library copies and compares by the widest that there is.
        "machine": " ".join([platform.machine(), *sorted({"abm", "avx2", "bmi2", "erms"} & flags)]),
        "crc32c": encode.crc32c_backend(),
    }


@contextmanager
def paths(folder: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """What is counted; each goes through RECORDS records."""
    import workloads
    from records import columns

    import walcore
    from walcore._core.encode import crc32c

    rows = columns(RECORDS, LEXICAL_CHARS)
    log = workloads.build(folder / "log", rows, walcore.WalConfig(folder).max_segment_bytes)
    # In one go: a call from Python takes ten times what the 160 bytes of a frame do.
    frames_of_all = bytes(FRAME_BYTES * RECORDS)

    with walcore.open(folder / "written", store_uuid=workloads.STORE) as wal:
        yield {
            "append": lambda: workloads.append(wal, rows),
            "append_many": lambda: workloads.append_many(wal, rows),
            "decode": lambda: workloads.scan(log),
            "read_arrow": lambda: workloads.scan_arrow(log),
            "verify": lambda: list(walcore.read(log).counts()),
            "crc32c": lambda: crc32c(frames_of_all),
        }


def go_through(folder: Path) -> list[str]:
    """Each path twice, the second time between two marks; returns their names."""
    # When the collector comes depends on everything before.
    gc.disable()
    with paths(folder) as all_paths:
        for path in all_paths.values():
            path()
            os.getpriority(os.PRIO_PROCESS, 0)
            path()
            os.getpriority(os.PRIO_PROCESS, 0)
        return list(all_paths)


def measure() -> dict[str, float]:
    """Instructions a record of each path."""
    with tempfile.TemporaryDirectory(prefix="walcore-instructions-") as name:
        out = Path(name, "counts")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK}"]
        # Neither the order of sets nor what was compiled by a run before may count.
        environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        command += [sys.executable, __file__, "--go-through", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"instructions: the run under valgrind failed:\n{done.stderr}")
        names = done.stdout.split()
        # The first of each two holds what comes before the second pass.
        dumps = [out.with_name(f"{out.name}.{2 * number}") for number in range(1, len(names) + 1)]
        totals = [int(re.findall(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)[0]) for dump in dumps]
    return {name: total / RECORDS for name, total in zip(names, totals, strict=True)}


def difference(here: Key, table: Key) -> str:
    """The first thing in which two keys differ, in words; empty if nothing is."""
    return next((f"{what} {table.get(what)}, here {it}" for what, it in here.items() if table.get(what) != it), "")


def changes(now: Counts, before: Counts) -> list[str]:
    """A line for each path whose count is off by more than LIMIT, or that one side doesn't have."""
    lines = [f"{path}: in the table and not counted; {ACCEPT}" for path in before if path not in now]
    for path, count in now.items():
        if path not in before:
            lines.append(f"{path}: not in the table; {ACCEPT}")
        elif abs(change := count / before[path] - 1) > LIMIT:
            numbers = f"{before[path]:,.0f} -> {count:,.0f} instructions a record, {100 * change:+.1f} %"
            lines.append(f"{path}: {numbers}; {ACCEPT}")
    return lines


def as_toml(here: Key, counts: Counts) -> str:
    """The table as it is kept."""
    lines = ["# Instructions a record; written by tox -e instructions -- --accept.", "[key]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in here.items()]
    return "\n".join([*lines, "", "[counts]", *(f"{name} = {count:.1f}" for name, count in counts.items()), ""])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="write the table anew")
    parser.add_argument("--go-through", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.go_through:
        print(*go_through(arguments.go_through))
        return 0
    if not shutil.which("valgrind"):
        print("instructions: skipped, no valgrind here")
        return 0
    here = key()
    table = {} if arguments.accept else tomllib.loads(TABLE.read_text())
    if not arguments.accept and (unlike := difference(here, table["key"])):
        print(f"instructions: nothing compared, the table is of {unlike}")
        return 0
    counts = measure()
    for path, count in counts.items():
        print(f"instructions: {path:<12}{count:>8,.0f} a record")
    if arguments.accept:
        TABLE.write_text(as_toml(here, counts))
        return 0
    lines = changes(counts, table["counts"])
    print("\n".join(lines) if lines else f"instructions: as in the table, within {100 * LIMIT:.0f} %")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
