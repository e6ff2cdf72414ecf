"""The state file: what it says, and when it is believed."""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from folders import STORE

from walcore.segments import Directory
from walcore.state import Loss, State, find_state, read_state, write_state

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


GREATEST = {
    "last_lsn": 2**63 - 1, "number": 2**31 - 1, "header_crc": 2**32 - 1, "size": 2**63 - 1, "first_number": 2**31 - 1,
}  # fmt: skip
LEAST = {"last_lsn": 0, "number": 0, "header_crc": 0, "size": 0, "first_number": 1}


@pytest.mark.parametrize("limits", [GREATEST, LEAST], ids=["greatest", "least"])
def test_numbers_go_as_far_as_the_format_has_them_and_no_further(tmp_path: Path, limits: dict[str, int]) -> None:
    step = 1 if limits is GREATEST else -1
    loss = {name: limits[name] for name in ("number", "header_crc", "size")}
    rest = {"store": STORE, "clean": True}
    whole = State(**limits, **rest, losses=(Loss(**loss, short=False),))  # type: ignore[arg-type]
    with Directory(tmp_path) as directory:
        write_state(directory, whole)
        assert read_state(directory) == whole
        for name, value in limits.items():
            write_state(directory, replace(whole, **{name: value + step}))  # type: ignore[arg-type]
            assert read_state(directory) is None, name
        for name, value in loss.items():
            beyond = Loss(**loss | {name: value + step}, short=False)
            write_state(directory, replace(whole, losses=(*whole.losses, beyond)))
            assert read_state(directory) is None, name


@pytest.mark.parametrize(
    ("error", "told"),
    [(errno.EACCES, None), (errno.EPERM, None), (errno.EINVAL, None), (errno.EIO, 5), (errno.EMFILE, 24)],
)
def test_who_only_reads_does_without_a_state_that_is_not_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, told: int | None
) -> None:
    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(Directory, "read_line", fail)
    with Directory(tmp_path) as directory:
        if told is None:
            assert find_state(directory) is None
        else:
            with pytest.raises(OSError, match=os.strerror(error)) as caught:
                find_state(directory)
            assert caught.value.errno == told
