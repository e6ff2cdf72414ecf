from walcore._core.drain import Drain

class GroupCommit(Drain):
    def run(self) -> None: ...
