from collections.abc import Iterable, Sequence
from typing import Any, Self

class Column:
    def __new__(cls, name: str, values: Any, scalar: type) -> Self: ...

class Rows:
    def __new__(cls, *args: Any) -> Self: ...

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

class Records(Rows):
    def __init__(self, items: Iterable[Any]) -> None: ...
