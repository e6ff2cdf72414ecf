"""Every input that a fuzzer found worth keeping, once more, without one; and the targets can fail."""

from __future__ import annotations

from collections.abc import Callable

import fuzz
import fuzz_core
import fuzz_surface
import logs
import pytest

TARGETS: dict[str, Callable[[bytes], None]] = fuzz_core.TARGETS | fuzz_surface.TARGETS | {
    "hot": lambda data: fuzz_core.frames(data[:1] + data)  # the same input without the second byte
}  # fmt: skip


@pytest.mark.parametrize("target", [*fuzz.CORE, *fuzz.SURFACE])
def test_what_is_kept_finds_nothing(target: str) -> None:
    inputs = fuzz.kept(target)
    assert inputs
    for number, data in enumerate(inputs):
        try:
            TARGETS[target](data)
        except BaseException as error:
            error.add_note(f"input {number} of {target}.zip: {data!r}")
            raise


def test_the_targets_see_a_decoder_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bytes(6) + logs.mint(logs.record(1))
    fuzz_core.frames(made)
    monkeypatch.setattr(fuzz_core, "find_frame", lambda data, start, stop: -1)
    with pytest.raises(AssertionError):
        fuzz_core.frames(made)


def test_the_targets_see_a_parser_that_lets_pass_what_it_should_not(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'{"t":"M","lsn":01,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n'
    fuzz_core.line(line)
    monkeypatch.setattr(fuzz_core, "parse_line", lambda data: {"t": "M", "lsn": 1, "id": 2, "vk": "L"})
    with pytest.raises(AssertionError):
        fuzz_core.line(line)
