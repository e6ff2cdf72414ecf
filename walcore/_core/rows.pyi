from collections.abc import Iterable, Sequence
from typing import Any, Self, final

from typing_extensions import disjoint_base

@final
class Column:
    def __new__(cls, name: str, field: str, values: Any, scalar: type) -> Self: ...

@disjoint_base
class Rows:
    def __new__(cls, *args: Any) -> Self: ...

@final
class Columns(Rows):
    def __init__(
        self,
        ids: Sequence[int] | int,
        kinds: Sequence[str] | str,
        lexicals: Sequence[str] | str,
        datatypes: Sequence[str] | str,
        languages: Sequence[str] | str,
        hashes: Sequence[int] | int,
    ) -> None: ...

@final
class Records(Rows):
    def __init__(self, items: Iterable[Any]) -> None: ...
