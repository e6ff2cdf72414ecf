"""Coverage-guided fuzzing: the compiled core by libFuzzer, the Python around it by atheris; what was run adds up.

    python tests/fuzz/fuzz.py --share 0.04                       every target for a little while
    python tests/fuzz/fuzz.py hot --total 100e6 --tally FILE     goes on where it stopped, until so many were run
    python tests/fuzz/fuzz.py frames --replay FILE               one input once more
    python tests/fuzz/fuzz.py --work FOLDER --keep               packs what was found there into the repository

Needs clang with libFuzzer's library; the targets of fuzz_surface.py need atheris.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CORPUS = HERE / "corpus"
CORE = {"hot": 256, "frames": 1024, "text": 512, "line": 1024}
"""The targets in the core, with the longest input of each."""
SURFACE = {"segment": 1024, "directory": 2048}
"""Those in the Python around it."""
RUNS = {"hot": 5_000_000, "frames": 100_000, "text": 100_000, "line": 100_000, "segment": 20_000, "directory": 2_000}
"""Executions of one process; then the next begins with the next seed."""
KEPT = 250
"""Inputs of a target that are added to the repository at a time."""
LIMITS = ["-rss_limit_mb=256", "-malloc_limit_mb=64", "-timeout=60"]
"""A process begins with some 100 MiB; a second of an execution's own time is looked at by the driver."""


class Finding(Exception):
    """An input made a target fail."""


def compiler() -> str:
    """A clang that has libFuzzer."""
    names = [os.environ.get("CC", ""), "clang", *(f"clang-{version}" for version in range(22, 13, -1))]
    for name in names:
        if "clang" in name and shutil.which(name) and library(name, "fuzzer_no_main"):
            return name
    msg = "no clang with libFuzzer here: install clang and its compiler-rt, for Debian libclang-rt-N-dev"
    raise SystemExit(msg)


@functools.cache
def library(clang: str, name: str, suffix: str = "a") -> Path | None:
    """The file of clang's run-time library `name`."""
    for spelled in (f"libclang_rt.{name}-{os.uname().machine}.{suffix}", f"libclang_rt.{name}.{suffix}"):
        done = subprocess.run([clang, f"-print-file-name={spelled}"], capture_output=True, text=True, check=True)
        if (path := Path(done.stdout.strip())).is_absolute() and path.exists():
            return path
    return None


def build(folder: Path, clang: str) -> None:
    """Make walcore with the hot target in its decoder, libFuzzer, its driver and the compiled targets in `folder`."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(CHECKOUT / name, source)
    shutil.copytree(CHECKOUT / "walcore", source / "walcore", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    with (source / "walcore/_core/decode.pyx").open("a") as decoder:
        decoder.write((HERE / "hot.pxi").read_text())
    tools = {"CC": clang, "LDSHARED": f"{clang} -shared", "WALCORE_SANITIZE": "address,undefined,fuzzer-no-link"}
    setup = [sys.executable, "setup.py", "--quiet", "build", "--build-lib", folder]
    subprocess.run(setup, cwd=source, env=os.environ | tools, check=True)
    shared = [clang, "-shared", "-fPIC", "-O2", "-g", f"-I{sysconfig.get_paths()['include']}"]
    whole = ["-Wl,--whole-archive", str(library(clang, "fuzzer_no_main")), "-Wl,--no-whole-archive"]
    subprocess.run([*shared, *whole, "-lstdc++", "-lm", "-lpthread", "-o", folder / "libfuzzer.so"], check=True)
    for name in ("fuzz_driver.pyx", "fuzz_core.py"):
        module = folder / Path(name).stem
        subprocess.run([sys.executable, "-m", "cython", "-3", HERE / name, "-o", f"{module}.c"], check=True)
        subprocess.run([*shared, f"{module}.c", "-o", f"{module}.so"], check=True)
    shutil.rmtree(source)


def command(target: str, folder: Path, clang: str) -> tuple[list[str], dict[str, str]]:
    """How a target's process is started, before libFuzzer's arguments; and its environment."""
    environment = os.environ | {
        "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:quarantine_size_mb=8",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join(map(str, (folder, HERE, HERE.parent))),
        # So that AddressSanitizer knows every object's room; the hot target makes few and allocates for itself.
        "PYTHONMALLOC": "default" if target == "hot" else "malloc",
    }
    program = [sys.executable, str(HERE / "fuzz_target.py"), target]
    # Whose hooks are found first counts: AddressSanitizer has empty ones.
    preloaded = f"{folder / 'libfuzzer.so'} {library(clang, 'asan', 'so')}"
    return program, environment | {"LD_PRELOAD": preloaded}


class Tally:
    """How often each target was executed, kept in a file that the next run goes on from."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.counts: dict[str, int] = {}
        self.rounds: dict[str, int] = {}
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            self.counts, self.rounds = kept["executions"], kept["rounds"]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, target: str, count: int) -> None:
        self.counts[target] = self.counts.get(target, 0) + count
        self.rounds[target] = self.rounds.get(target, 0) + 1
        if self.path is not None:
            kept = {"total": self.total, "executions": self.counts, "rounds": self.rounds}
            aside = self.path.with_name(self.path.name + ".new")
            aside.write_text(json.dumps(kept, indent=1) + "\n")
            aside.replace(self.path)


class Fuzzer:
    """The targets' processes, and the folder in which they work."""

    def __init__(self, work: Path, clang: str) -> None:
        self.work, self.clang = work, clang
        self.built = work / "built"
        if not self.built.exists():
            build(self.built, clang)

    def corpus(self, target: str) -> Path:
        """The folder of the target's inputs, begun with those that are kept."""
        folder = self.work / "corpus" / target
        if not folder.exists():
            folder.mkdir(parents=True)
            for number, data in enumerate(kept(target)):
                (folder / f"kept-{number}").write_bytes(data)
        return folder

    def start(self, target: str, *arguments: str) -> str:
        """Run one process to its end; return what libFuzzer said."""
        program, environment = command(target, self.built, self.clang)
        found = self.work / "findings"
        found.mkdir(exist_ok=True)
        fixed = [f"-artifact_prefix={found}/{target}-", *LIMITS, "-print_final_stats=1", "-verbosity=0"]
        whole = [*program, *fixed, *arguments]
        process = subprocess.run(
            whole, env=environment, cwd=self.work, capture_output=True, errors="replace", check=False
        )
        if process.returncode:
            raise Finding(process.stdout[-2000:] + process.stderr[-6000:])
        return process.stderr

    def round(self, target: str, seed: int, runs: int) -> int:
        """One process of so many executions; return how many there were."""
        length = (CORE | SURFACE)[target]
        said = self.start(target, f"-seed={seed}", f"-runs={runs}", f"-max_len={length}", str(self.corpus(target)))
        counted = re.search(r"number_of_executed_units: (\d+)", said)
        assert counted is not None, said
        return int(counted[1])

    def choose(self, target: str) -> None:
        """Pack so many of the inputs that reached something new, small and large, into the repository."""
        found = sorted(
            (path.read_bytes() for path in self.corpus(target).iterdir()), key=lambda data: (len(data), data)
        )
        keep(target, list(dict.fromkeys([*kept(target), *found[:: len(found) // KEPT + 1]])))


def kept(target: str) -> list[bytes]:
    """The inputs of the repository."""
    path = CORPUS / f"{target}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as packed:
        return [packed.read(name) for name in packed.namelist()]


def keep(target: str, inputs: list[bytes]) -> None:
    """Pack inputs into the repository: the same inputs make the same file."""
    CORPUS.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / f"{target}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for number, data in enumerate(inputs):
            packed.writestr(zipfile.ZipInfo(str(number)), data, zipfile.ZIP_DEFLATED)


def fuzz(fuzzer: Fuzzer, targets: list[str], tally: Tally, total: int, seconds: float, share: float) -> None:
    """Round after round, until `total` executions are tallied or the time is over."""
    end = time.monotonic() + seconds
    while tally.total < total and time.monotonic() < end:
        for target in targets:
            seed = tally.rounds.get(target, 0) + 1
            count = fuzzer.round(target, seed, max(1, int(share * RUNS[target])))
            tally.add(target, count)
            print(f"{target}: {count} executions with seed {seed}; in all {tally.total}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*CORE, *SURFACE, []])
    parser.add_argument("--total", type=float, default=0, help="stop when the tally has come to so many executions")
    parser.add_argument("--minutes", type=float, default=110, help="stop after this time")
    parser.add_argument("--share", type=float, default=1, help="of the executions that a process has as a rule")
    parser.add_argument("--tally", type=Path, help="the file that counts executions and seeds, to go on with")
    parser.add_argument(
        "--work", type=Path, help="where to build and to keep inputs; else a folder that goes afterwards"
    )
    parser.add_argument("--replay", type=Path, help="an input to run once more")
    parser.add_argument("--keep", action="store_true", help="add inputs of --work to those of the repository")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="walcore-fuzz-") as folder:
        fuzzer = Fuzzer((options.work or Path(folder)).resolve(), compiler())
        targets = options.targets or [*CORE, *SURFACE]
        try:
            if options.replay:
                print(fuzzer.start(targets[0], str(options.replay.resolve())))
            elif options.keep:
                for target in targets:
                    fuzzer.choose(target)
            else:
                tally = Tally(options.tally)
                fuzz(fuzzer, targets, tally, int(options.total) or tally.total + 1, options.minutes * 60, options.share)
                print(f"{tally.total} executions, no finding: {tally.counts}")
        except Finding as finding:
            found = shutil.copytree(fuzzer.work / "findings", tempfile.mkdtemp("walcore-findings"), dirs_exist_ok=True)
            sys.exit(
                f"{finding}\na finding; to see it again: {Path(__file__).name} TARGET --replay FILE, one of {found}"
            )


if __name__ == "__main__":
    main()
