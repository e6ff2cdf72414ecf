"""One target in a process of its own: fuzz_target.py TARGET [libFuzzer's arguments].

Those of the core run under libFuzzer as it is, those of the Python around it under atheris, which adds Python's lines
to what libFuzzer knows of the compiled modules.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

CORE = ("hot", "frames", "text", "line")


def target_of_core(name: str) -> Any:
    """What the driver takes: a callable, or a C function's address."""
    if name == "hot":
        # Only the decoder is loaded: with fewer counters to look through, libFuzzer is twice as fast.
        package = types.ModuleType("walcore")
        package.__path__ = [str(Path(fuzz_driver.__file__).parent / "walcore")]
        sys.modules["walcore"] = package
        from walcore._core.decode import hot_address

        return hot_address
    import fuzz_core

    fuzz_core.every = 64
    return fuzz_core.TARGETS[name]


if sys.argv[1] in CORE:
    import fuzz_driver

    fuzz_driver.run(target_of_core(sys.argv[1]), sys.argv[1:])
else:
    import atheris

    with atheris.instrument_imports(include=["walcore"]):
        import fuzz_surface
    atheris.Setup(sys.argv[1:], fuzz_surface.TARGETS[sys.argv[1]])
    atheris.Fuzz()
