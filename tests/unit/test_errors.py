"""What errors tell a program, and what they say of what isn't known."""

from __future__ import annotations

import pytest

import walcore


def test_what_is_not_known_of_damage_is_empty() -> None:
    error = walcore.CorruptionError("x")
    assert (error.kind, error.segment, error.offset, error.lsn, str(error)) == ("", "", 0, None, "x")
    error = walcore.CorruptionError("x", kind="k", segment="s", offset=7, lsn=3)
    assert (error.kind, error.segment, error.offset, error.lsn) == ("k", "s", 7, 3)


def test_what_is_not_known_of_a_failure_is_empty() -> None:
    error = walcore.WalFailedError("x")
    assert (error.call, error.path, error.durable_lsn, error.first_lsn, error.last_lsn) == ("", "", 0, None, None)
    error = walcore.WalFailedError("x", call="pwrite", path="/p", durable_lsn=4)
    assert (error.call, error.path, error.durable_lsn) == ("pwrite", "/p", 4)


def test_what_is_not_known_of_a_loss_is_none() -> None:
    error = walcore.IncompleteError("x")
    assert (error.records, error.report) == (None, None)
    assert walcore.WalLockedError("x").holder == {}


@pytest.mark.parametrize("name", [name for name in walcore.__all__ if name.endswith("Error") and name != "WalError"])
def test_every_error_is_a_walerror(name: str) -> None:
    assert issubclass(getattr(walcore, name), walcore.WalError)
