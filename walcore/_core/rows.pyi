from collections.abc import Iterable
from typing import Any, Self, final

from typing_extensions import disjoint_base

@disjoint_base
class Rows:
    def __new__(cls, *args: Any) -> Self: ...

@final
class Records(Rows):
    def __init__(self, items: Iterable[Any]) -> None: ...
