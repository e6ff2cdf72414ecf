"""A configuration is checked field by field when it is built, and tells what is wrong, what is allowed, what came."""

from __future__ import annotations

import pickle
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from walcore import SyncPolicy, WalConfig, WalConfigError, WalError


def test_defaults_are_those_of_the_design() -> None:
    config = WalConfig("log")
    assert config.directory == Path("log")
    assert config.store_uuid is None
    assert config.sync_policy is SyncPolicy.COMMIT
    assert config.sync_interval == 1.0
    assert config.max_segment_bytes == 128 * 1024 * 1024
    assert config.batch_buffer_bytes == 1024 * 1024
    assert config.buffer_timeout is None
    assert config.on_force is None
    assert config.file_mode is None
    assert config.max_unsealed_segments == 16


def test_values_take_their_one_form() -> None:
    store = uuid.uuid4()
    config = WalConfig(
        "log", store_uuid=store, sync_policy="interval", sync_interval=timedelta(milliseconds=250), buffer_timeout=3
    )
    assert config.store_uuid == str(store)
    assert config.sync_policy is SyncPolicy.INTERVAL
    assert config.sync_interval == 0.25
    assert config.buffer_timeout == 3.0
    assert config == WalConfig(Path("log"), store_uuid=str(store).upper(), sync_policy=SyncPolicy.INTERVAL,
                               sync_interval=0.25, buffer_timeout=timedelta(seconds=3))  # fmt: skip


def test_it_is_frozen_and_survives_pickling() -> None:
    config = WalConfig("log", max_segment_bytes=4096, on_force=print)
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(AttributeError):
        config.sync_interval = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("store_uuid", "not-a-uuid", "UUID"),
        ("sync_policy", "SOMETIMES", "ALWAYS, COMMIT, INTERVAL"),
        ("sync_interval", 0, "above 0"),
        ("sync_interval", -1.5, "above 0"),
        ("sync_interval", float("nan"), "above 0"),
        ("sync_interval", float("inf"), "at most"),
        ("max_segment_bytes", 1023, "1024"),
        ("max_segment_bytes", 2**41, "1099511627776"),
        ("batch_buffer_bytes", 4096, "4097"),
        ("batch_buffer_bytes", 2**31, "1073741824"),
        ("preallocate_bytes", -1, "0 to 1073741824"),
        ("max_unsealed_segments", 0, "1 to 1048576, got 0"),
        ("max_unsealed_segments", 2**21, "1 to 1048576, got"),
        ("preallocate_bytes", 2**31, "1073741824"),
        ("buffer_timeout", -0.1, "0 or more"),
        ("buffer_timeout", 86_400.0 * 366, "at most 31536000 seconds"),
        ("file_mode", 0o400, "0o600 to 0o666"),
        ("file_mode", 0o700, "0o600 to 0o666"),
        ("file_mode", 0o4600, "0o600 to 0o666"),
        ("file_mode", -1, "0o600 to 0o666"),
        ("file_mode", 640, "0o1200"),  # not an octal number
        ("directory", "", "not empty"),
        ("directory", "a\0b", "NUL"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    settings: dict[str, Any] = {"directory": "log"} | {field: value}
    with pytest.raises(WalConfigError) as caught:
        WalConfig(**settings)
    message = str(caught.value)
    assert field in message
    assert allowed in message
    assert repr(value) in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, WalError)


def test_a_wait_may_be_as_long_as_a_year() -> None:
    assert WalConfig("log", buffer_timeout=86_400 * 365).buffer_timeout == 31_536_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("directory", b"log"),
        ("directory", 3),
        ("store_uuid", 3),
        ("sync_policy", 1),
        ("sync_interval", "1"),
        ("sync_interval", True),
        ("max_segment_bytes", 4096.0),
        ("max_segment_bytes", True),
        ("batch_buffer_bytes", "8192"),
        ("buffer_timeout", "1"),
        ("on_force", 3),
        ("file_mode", "0o600"),
        ("file_mode", True),
    ],
)
def test_a_wrong_type_is_a_type_error(field: str, value: Any) -> None:
    settings: dict[str, Any] = {"directory": "log"} | {field: value}
    with pytest.raises(TypeError):
        WalConfig(**settings)
