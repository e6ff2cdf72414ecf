"""Tasks of an event loop that wait, and syncs that wait until they are told."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import resources

if TYPE_CHECKING:
    from walcore.aio import AsyncWal


class Gate:
    """In place of C's calls: a sync passes while `syncs` is set, and `fail` fails the next ones."""

    def __init__(self) -> None:
        self.syncs = threading.Event()
        self.begun = threading.Event()
        self.fail: dict[str, int] = {}
        self.syncs.set()

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        self._meet("pwrite")
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int, /) -> None:
        self.begun.set()
        assert self.syncs.wait(60)
        self._meet("fdatasync")

    def _meet(self, call: str) -> None:
        if call in self.fail:
            raise OSError(self.fail[call], os.strerror(self.fail[call]))

    ftruncate = staticmethod(os.ftruncate)
    fstat = staticmethod(os.fstat)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """What it returns, in a loop of its own; a hang is a failure."""

    async def watched() -> Any:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(watched())


async def waiting(wal: AsyncWal, count: int) -> list[asyncio.Task[int]]:
    """So many tasks that have begun to wait, each for a record of its own."""
    tasks = [asyncio.create_task(wal.commit(wal.log_mint(i, "I", "urn:x"))) for i in range(count)]
    await asyncio.sleep(0)
    return tasks


def descriptors() -> int:
    """Those open once what refers to itself is gone: tasks and their errors do."""
    gc.collect()
    return resources.descriptors()
