from typing import Any, Self, final

from walcore._core.rows import Rows

@final
class Column:
    def __new__(cls, name: str, field: str, values: Any, scalar: type) -> Self: ...

@final
class Columns(Rows):
    def __init__(self, ids: Any, kinds: Any, lexicals: Any, datatypes: Any, languages: Any, hashes: Any) -> None: ...

def table(values: Any) -> Columns: ...
