"""The compiled core built for a sanitizer, under the stock interpreter.

    python tests/sanitize/sanitize.py address|thread|undefined [pytest's arguments]

WALCORE_LONG=1 runs all unit and property tests and many seeds of the stress; else the tests of what the sanitizer is
there for, and a few seeds.  Only the core is instrumented: the sanitizer's run-time library is preloaded, and reports
what the interpreter and other packages do only where the core has a hand in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
LONG = bool(os.environ.get("WALCORE_LONG"))
SUPPRESSIONS = HERE / "suppressions.txt"
RUNTIMES = {"address": "asan", "thread": "tsan", "undefined": "ubsan"}
_THREAD = f"exitcode=66:history_size=7:die_after_fork=0:suppressions={SUPPRESSIONS}"
OPTIONS = {
    # An object's own room is known only if it was asked for by malloc.
    "address": {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "PYTHONMALLOC": "malloc"},
    # Before a fork pyarrow's allocator takes more locks than the search for deadlocks can hold.
    "thread": {"TSAN_OPTIONS": f"{_THREAD}:detect_deadlocks=0" if LONG else _THREAD},
    "undefined": {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
}
_MEMORY = (
    *("encode", "decode", "crc32c", "frames", "large_frames", "failures", "threads"),
    *("read_arrow", "arrays", "bad_arrays", "lent_arrays"),
)
SHORT = {"address": _MEMORY, "thread": ("threads", "aio", "aio_lives"), "undefined": _MEMORY}
"""The files of tests/unit that the short form runs."""
_MEASURED = (
    *("bounded_memory", "bomb", "takes_its_frame", "million", "nothing_is_left", "lent_is_given_back"),
    *("memory_is_that", "memory_stays_within"),
)
"""Tests that measure memory: the sanitizers' own would be measured."""
# Polars can't so much as be imported with ThreadSanitizer's library preloaded: it crashes.
LEFT_OUT = {"address": _MEASURED, "thread": (*_MEASURED, "polars", "program_in_the_docs"), "undefined": _MEASURED}
"""Words in the names of tests that don't run."""
SEEDS = range(1, 41) if LONG else range(1, 5)
SECONDS = 10 if LONG else 2


def short(sanitizer: str) -> list[str]:
    return [f"tests/unit/test_{name}.py" for name in SHORT[sanitizer]]


def preloaded(compiler: str, sanitizer: str) -> str | None:
    """The sanitizer's shared run-time library that goes with the compiler; None if it has none."""
    short = RUNTIMES[sanitizer]
    clangs = [f"libclang_rt.{short}{part}-{os.uname().machine}.so" for part in ("", "_standalone")]
    for name in (f"lib{short}.so", *clangs):
        done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        if (path := Path(done.stdout.strip())).is_absolute() and path.exists():
            return str(path.resolve())
    return None


def toolchain(sanitizer: str) -> tuple[str, str]:
    """A compiler with the sanitizer's shared library, and that library."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if shutil.which(name) and (library := preloaded(name, sanitizer)):
            return name, library
    sys.exit(f"no compiler here has the {sanitizer} sanitizer's shared library: install gcc, or clang with compiler-rt")


def build(folder: Path, compiler: str, sanitizer: str) -> None:
    tools = {"CC": compiler, "LDSHARED": f"{compiler} -shared", "WALCORE_SANITIZE": sanitizer}
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-lib", folder]
    subprocess.run(command, cwd=CHECKOUT, env=os.environ | tools, check=True)


def main() -> None:
    sanitizer, *arguments = sys.argv[1:] or ["address"]
    compiler, library = toolchain(sanitizer)
    with tempfile.TemporaryDirectory(prefix=f"walcore-{sanitizer}-") as folder:
        build(Path(folder), compiler, sanitizer)
        environment = os.environ | OPTIONS[sanitizer] | {"LD_PRELOAD": library, "PYTHONPATH": folder}
        tests = arguments or (["tests/unit", "tests/property"] if LONG else short(sanitizer))
        chosen = ["-k", f"not ({' or '.join(LEFT_OUT[sanitizer])})"]
        pytest = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--capture=sys", *chosen]
        codes = [subprocess.run([*pytest, *tests], cwd=CHECKOUT, env=environment, check=False).returncode]
        if sanitizer != "undefined" and not arguments:
            stress = [sys.executable, "-P", str(HERE / "stress.py"), str(SECONDS), *map(str, SEEDS)]
            environment["ASAN_OPTIONS"] = "detect_leaks=1"  # of pytest, and of compilers that tests start, none is ours
            environment["TSAN_OPTIONS"] = _THREAD
            codes.append(subprocess.run(stress, cwd=folder, env=environment, check=False).returncode)
    print(f"{sanitizer} sanitizer ({compiler}): {'clean' if not any(codes) else f'exit codes {codes}'}")
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
