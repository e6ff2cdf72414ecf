"""The power goes while a log is at work on a real ext4 or XFS: nothing promised is lost, and the log goes on."""

from __future__ import annotations

from pathlib import Path

import cuts
import mounts
import pytest
from tally import Tally


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_nothing_promised_is_lost_by_a_power_cut(tmp_path: Path, kind: str) -> None:
    tally = Tally(f"power cuts of {kind}")
    with mounts.image(tmp_path / kind, kind, cuts.SIZE) as mount:
        for numbers in tally.numbers(cuts.CUTS_OF_A_LOG, 1000, cuts.CUTS_OF_A_LOG):
            try:
                tally.more += cuts.log_cut_off(mount, numbers.start, numbers.stop)
            except cuts.Lost as lost:
                pytest.fail(f"{lost}; again: python {cuts.__file__} PLACE {kind} {numbers.start} {numbers.stop}")
    print(f"{kind}: {tally.done} power cuts, {tally.more} promised records, 0 lost")
    assert tally.more > 0


def test_a_disk_whose_syncs_do_nothing_is_found_out(tmp_path: Path) -> None:
    """The check bites: without a sync the power cut takes what was promised."""
    with mounts.image(tmp_path / "ext4", "ext4", cuts.SIZE) as mount, pytest.raises(cuts.Lost, match="promise"):
        cuts.log_cut_off(mount, 0, cuts.CUTS_OF_A_LOG, lies=True)
