"""The fixtures of `walcore.testing`: how many states they try, and that --disk-seed draws others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """

def test_states(disk, power_cuts, disk_seed):
    assert disk.path.name == "disk" and not list(disk.path.iterdir())
    for number in range(6):
        (disk.path / str(number)).write_bytes(b"x" * 5000)
    seeds = []
    power_cuts(lambda cut: seeds.append(cut.seed), states=3)
    print("DRAWN", disk_seed, sorted({seed for seed in seeds}))
    alone = []
    power_cuts(lambda cut: alone.append(cut.seed), states=0)
    print("PLAIN", sorted({seed for seed in alone}))
"""


def seeds(folder: Path, *options: str) -> tuple[list[int], list[int]]:
    """The seeds of the states that were drawn, and of those that always are."""
    (folder / "test_it.py").write_text(PROGRAM)
    quiet = ["-q", "-s", "-p", "no:cacheprovider", "-p", "walcore.testing.fixtures"]
    command = [sys.executable, "-m", "pytest", *quiet, "test_it.py", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {line.split()[0]: line[line.index("[") + 1 : -1] for line in done.stdout.splitlines() if "[" in line}
    drawn, plain = ([int(seed) for seed in told[word].split(",")] for word in ("DRAWN", "PLAIN"))
    return [seed for seed in drawn if seed not in plain], plain


def test_a_seed_draws_states_that_no_other_seed_draws(tmp_path: Path) -> None:
    drawn: list[int] = []
    for seed in range(3):
        others, plain = seeds(tmp_path, f"--disk-seed={seed}")
        assert len(others) == 3
        assert min(others) > max(plain)
        drawn += others
    assert len(set(drawn)) == 9
