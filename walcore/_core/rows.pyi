from collections.abc import Iterable
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
    def __init__(self, ids: Any, kinds: Any, lexicals: Any, datatypes: Any, languages: Any, hashes: Any) -> None: ...

def table(values: Any) -> Columns: ...

@final
class Records(Rows):
    def __init__(self, items: Iterable[Any]) -> None: ...
