"""The original: RDF4J's writer in Java, run by the harness that ${WALCORE_SHARED}/upstream builds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from parameters import Parameters

TOOLS = ("java", "javac", "mvn")


class NotHereError(Exception):
    """The original can't be built; the message says why."""


@dataclass(frozen=True)
class Original:
    """The built harness.  Each method is one run of a JVM of its own and gives that run's best round, a second."""

    command: tuple[str, ...]

    def append(self, directory: Path, parameters: Parameters) -> float:
        """Records a second, from opening the log until the last record is durable; four rounds."""
        arguments = parameters.records, parameters.lexical_chars, parameters.segment_bytes
        return self._best(r"durable (\d+)/s", "bulk", directory, "COMMIT", *arguments)

    def commit(self, directory: Path, clients: int, parameters: Parameters) -> float:
        """Durable commits a second, each client waiting for its own; three rounds."""
        # Alone it is slow enough that a short round counts its first, quick commits only.
        seconds = parameters.original_seconds * (4 if clients == 1 else 1)
        return self._best(r" (\d+)/s p50", "commit", directory, "COMMIT", clients, seconds)

    def scan(self, directory: Path) -> float:
        """Records a second, checked and decoded; four rounds over a log that is there."""
        return self._best(r" (\d+)/s", "scan", directory)

    def _best(self, rate: str, *arguments: object) -> float:
        command = [*self.command, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        rounds = [float(found) for found in re.findall(rate, done.stdout)]
        if done.returncode or not rounds:
            msg = f"{' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}"
            raise RuntimeError(msg)
        return max(rounds)


def build(folder: Path) -> Original:
    """Compile the original into `folder`."""
    shared = os.environ.get("WALCORE_SHARED")
    if not shared:
        msg = "WALCORE_SHARED, which names the folder with its source, is not set"
        raise NotHereError(msg)
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        msg = f"no {', '.join(missing)} on PATH (needs JDK 17 and Maven)"
        raise NotHereError(msg)
    script = Path(shared) / "upstream" / "build.sh"
    done = subprocess.run(["sh", script, folder], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        msg = f"{script} failed: {done.stderr.strip()[-300:]}"
        raise NotHereError(msg)
    return Original(tuple(done.stdout.split()))
