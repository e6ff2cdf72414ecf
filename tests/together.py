"""Threads that all begin at once."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable


def together(works: list[Callable[[], None]], seconds: float = 30) -> None:
    """Run all at once; the first error of any is raised, and one that doesn't end fails the test."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        if thread.is_alive():
            faulthandler.dump_traceback(all_threads=True)
            raise AssertionError("a thread hangs") from (errors[0] if errors else None)
    if errors:
        raise errors[0]
