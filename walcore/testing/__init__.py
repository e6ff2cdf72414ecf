"""Tests of a storage engine's own recovery: a folder whose disk fails on request and whose power can go.

    from walcore.testing import Disk

    with Disk(tmp_path / "store") as disk:
        engine = Engine(tmp_path / "store")
        engine.put(1, "a")
        engine.commit()
        disk.note({1: "a"})                      # promised from here on

    def recovers(cut):
        found = Engine(cut.path).all()
        assert all(item in found.items() for note in cut.notes for item in note.items())

    disk.try_power_cuts(tmp_path / "cuts", recovers)

docs/testing.md says what is modelled and what isn't; `walcore.testing.fixtures` has the same as pytest fixtures.
"""

from walcore.testing.disk import Disk, PowerCut
from walcore.testing.faults import Fault, PowerOffError

__all__ = ["Disk", "Fault", "PowerCut", "PowerOffError"]
