"""What users write, as a type checker sees it; never run (`tox -e types`)."""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import walcore
import walcore.aio
from walcore import Record, SyncPolicy, ValueKind, WalConfig


def opening() -> None:
    with walcore.open("store/wal", sync_policy="ALWAYS", store_uuid=uuid.uuid4()) as wal:
        assert_type(wal, walcore.Wal)
    walcore.open(Path("store/wal"), create=False, sync_interval=timedelta(seconds=2), buffer_timeout=None)
    walcore.open(WalConfig("store/wal", sync_policy=SyncPolicy.INTERVAL, on_force=print)).close(timeout=1.5)
    WalConfig("store/wal", sync_policy=3)  # type: ignore[arg-type]


async def on_asyncio() -> None:
    async with await walcore.aio.open("store/wal", sync_policy="INTERVAL", sync_interval=0.5) as wal:
        assert_type(wal, walcore.aio.AsyncWal)
        lsn = wal.log_mint(42, ValueKind.LITERAL, "Zürich", language="de", hash=7)
        assert_type(lsn, int)
        assert_type(wal.log_mint_many([1, 2], "I", ["a", "b"]), tuple[int, int])
        assert_type(await wal.commit(lsn), int)
        await wal.await_durable(lsn)
        await wal.await_durable(None)  # type: ignore[arg-type]
        assert_type(wal.wal, walcore.Wal)


def writing(wal: walcore.Wal) -> None:
    lsn = wal.log_mint(42, ValueKind.LITERAL, "Zürich", language="de", hash=7)
    assert_type(lsn, int)
    wal.log_mint(43, "I", "http://example.org/")
    assert_type(wal.log_mint_many([1, 2], "I", ["a", "b"], hashes=[7, 8]), tuple[int, int])
    assert_type(wal.log_mint_many(array("i", [1, 2]), "I", walcore.read_arrow("store/wal")), tuple[int, int])
    assert_type(wal.log_mint_many(next(walcore.read_arrow("store/wal").batches())), tuple[int, int])
    assert_type(wal.log_mint_many(Record(1, i, "I", str(i)) for i in range(9)), tuple[int, int])
    assert_type(wal.commit(), int)
    assert_type(wal.commit(lsn), int)
    wal.await_durable(lsn, timeout=0.5)
    wal.flush()
    wal.rotate()
    wal.purge_all_segments()
    assert_type(wal.last_lsn, int)
    assert_type(wal.written_lsn, int)
    assert_type(wal.durable_lsn, int)
    assert_type(wal.is_closed, bool)
    assert_type(wal.has_initial_segments, bool)
    wal.log_mint("42", "I", "http://example.org/")  # type: ignore[arg-type]


def reading() -> Iterator[str]:
    for record in walcore.read("store/wal", mode="SALVAGE"):
        assert_type(record, Record)
        match record:
            case Record(_, id, "L", lexical):
                yield f"{id} {lexical}"
        record.lsn = 3  # type: ignore[misc]
    reader = walcore.read("store/wal")
    assert_type(reader.report.complete, bool)


def recovering() -> None:
    found = walcore.recover("store/wal", allow_incomplete=True, on_conflict="first")
    assert_type(found.records, Mapping[int, Record])
    walcore.recover("store/wal", max_memory=64 << 20)
    newest = walcore.find("store/wal", 42)
    if newest is not None:
        assert_type(newest, Record)
        assert_type(newest.lexical, str)


def failing(wal: walcore.Wal) -> None:
    try:
        wal.commit()
    except walcore.WalFailedError as failed:
        assert_type(failed.durable_lsn, int)
    except walcore.WalLockedError as locked:
        assert_type(locked.holder, dict[str, Any])
