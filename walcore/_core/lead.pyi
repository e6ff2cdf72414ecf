from typing import Any, Self

from typing_extensions import disjoint_base

from walcore.system import CoreCalls

@disjoint_base
class Lead:
    def __new__(
        cls,
        control: Any,
        *,
        half_bytes: int,
        max_segment_bytes: int,
        header_size: int,
        next_lsn: int,
        next_number: int,
        always: bool,
        interval: int,
        room_timeout: int,
        listens: bool,
        preallocate: int = 0,
        system: CoreCalls | None = None,
    ) -> Self: ...
