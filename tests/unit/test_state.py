"""The state file: what it says, and when it is believed."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from folders import STORE

from walcore.segments import Directory
from walcore.state import Loss, State, read_state, write_state

STATE = State(last_lsn=2**62, number=7, header_crc=0xFFFFFFFF, size=2**40, store=STORE, clean=True, first_number=3)
LOSSES = (Loss(4, 0xFFFFFFFF, 2**40, short=True), Loss(5, 1, 300, short=False))


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    with Directory(tmp_path) as directory:
        assert read_state(directory) is None
        write_state(directory, STATE)
        assert read_state(directory) == STATE
        write_state(directory, replace(STATE, clean=False, losses=LOSSES))
        assert read_state(directory) == replace(STATE, clean=False, losses=LOSSES)
    assert [path.name for path in tmp_path.iterdir()] == ["walcore.state"]


def test_a_state_written_before_losses_were_kept_is_read(tmp_path: Path) -> None:
    fields = {"version": 1} | asdict(STATE)
    del fields["losses"]
    with Directory(tmp_path) as directory:
        directory.write_line("walcore.state", fields)
        assert read_state(directory) == STATE


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\0" * 200, b'{"version":1,"last_lsn":1}\n'],
    ids=["empty", "no checksum", "zeros", "garbled"],
)
def test_a_garbled_state_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "walcore.state").write_bytes(content)
    with Directory(tmp_path) as directory:
        assert read_state(directory) is None


def test_a_state_with_any_byte_flipped_is_none(tmp_path: Path) -> None:
    with Directory(tmp_path) as directory:
        write_state(directory, STATE)
        whole = (tmp_path / "walcore.state").read_bytes()
        for at in range(len(whole)):
            (tmp_path / "walcore.state").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert read_state(directory) is None, f"byte {at}"


@pytest.mark.parametrize("fields", [{"version": 2, "last_lsn": 1}, {"version": 1}, {"version": 1, "more": 1}])
def test_a_state_of_another_form_is_none(tmp_path: Path, fields: dict[str, object]) -> None:
    with Directory(tmp_path) as directory:
        directory.write_line("walcore.state", fields)
        assert read_state(directory) is None


def test_a_read_error_is_not_a_missing_state(tmp_path: Path) -> None:
    (tmp_path / "walcore.state").mkdir()
    with Directory(tmp_path) as directory, pytest.raises(OSError, match=r"walcore\.state"):
        read_state(directory)


def test_a_state_fits_its_segment_only() -> None:
    assert STATE.fits(7, 0xFFFFFFFF, 2**40)
    assert STATE.fits(7, 0xFFFFFFFF, None)
    assert not STATE.fits(7, 0xFFFFFFFF, 2**40 - 1)
    assert not STATE.fits(7, 0, 2**40)
    assert not STATE.fits(8, 0xFFFFFFFF, 2**40)
