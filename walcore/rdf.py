"""RDF terms and what the log keeps of them: parsing, the mapping both ways, and the dictionary term -> id.

Needs pyoxigraph (`pip install "walcore[rdf]"`).  A value here is the plain tuple `(kind, lexical, datatype, language)`:
the middle of `log_mint`'s arguments, and what two equal terms have in common.  As in RDF4J, a literal always has its
datatype: xsd:string for a plain one, rdf:langString beside a language.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from walcore.errors import InvalidRecordError
from walcore.format import MAX_INT32

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    import pyoxigraph as ox

    from walcore.record import Record

Value: TypeAlias = tuple[str, str, str, str]
"""Kind (a letter or `ValueKind`), lexical form, datatype IRI, language tag; "" for what there isn't."""

LABEL_HEX: Final = 16
# Progress is told in steps of this size: by the line it would take as long as the parsing.
READ_BYTES: Final = 1 << 16
# What people call a format beside the extensions and media types that pyoxigraph knows.
ALIASES: Final = {"turtle": "ttl", "ntriples": "nt", "nquads": "nq", "owl": "rdf", "rdfs": "rdf", "rdfxml": "rdf"}


def value_of(term: object) -> Value:
    """The value that stands for a pyoxigraph term.

    Raises:
        InvalidRecordError: a triple term, or a literal with a base direction: the log has no place for either.
        TypeError: no RDF term at all.
    """
    import pyoxigraph as ox

    if isinstance(term, ox.NamedNode):
        return "I", term.value, "", ""
    if isinstance(term, ox.BlankNode):
        return "B", term.value, "", ""
    if isinstance(term, ox.Literal):
        if term.direction is not None:
            msg = "a literal with a base direction can't be a value of the log"
            raise InvalidRecordError(msg, field="lexical")
        return "L", term.value, term.datatype.value, term.language or ""
    if isinstance(term, ox.Triple):
        msg = "a triple term can't be a value of the log"
        raise InvalidRecordError(msg, field="lexical")
    msg = f"term must be an RDF term of pyoxigraph, not {type(term).__name__}"
    raise TypeError(msg)


def term_of(record: Record) -> ox.NamedNode | ox.BlankNode | ox.Literal:
    """The pyoxigraph term of a record; a namespace gives the NamedNode of its IRI.

    Raises:
        ValueError: RDF has no such term, e.g. an IRI with a space, which a log can hold all the same.
    """
    import pyoxigraph as ox

    if record.kind == "B":
        return ox.BlankNode(record.lexical)
    if record.kind != "L":
        return ox.NamedNode(record.lexical)
    if record.language:
        return ox.Literal(record.lexical, language=record.language)
    return ox.Literal(record.lexical, datatype=ox.NamedNode(record.datatype) if record.datatype else None)


def rdf_format(path: Path, name: str | None = None) -> ox.RdfFormat:
    """The format of a file: by `name` (an extension such as "ttl", or a media type), else by its extension.

    Raises:
        ValueError: pyoxigraph reads nothing of that name.
    """
    import pyoxigraph as ox

    wanted = (name or path.suffix).lower().removeprefix(".")
    wanted = ALIASES.get(wanted, wanted)
    found = ox.RdfFormat.from_media_type(wanted) if "/" in wanted else ox.RdfFormat.from_extension(wanted)
    if found is None:
        what = f"the format {name!r}" if name else f"the extension of {str(path)!r}"
        msg = f"{what} is none that can be read; there are ttl, nt, nq, trig, n3, rdf (RDF/XML) and jsonld"
        raise ValueError(msg)
    return found


class RdfFile:
    """The values of one RDF file, in order of first use, repeats included, and its namespaces; in constant memory.

    A blank node's label is the first 16 hex digits of the file's SHA-256, "-", and the node's number in order of first
    appearance, from 1: labels repeat from load to load of the same bytes, and never clash between files.

    Args:
        path: the file; read twice (once for its SHA-256), so no pipe.
        name: its format, see `rdf_format`.
        base_iri: what relative IRIs are resolved against; without it they are errors, since an IRI made from the
            place where a file happens to lie would name something else after a move.
        on_skip: called with line (from 1) and description of each term that can't be a value; it is left out.
        on_read: called now and then with the number of bytes read since, for those who show progress.

    Iterating raises SyntaxError (with `lineno`, `offset`) where the file stops being valid, and OSError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        base_iri: str | None = None,
        on_skip: Callable[[int, str], object] | None = None,
        on_read: Callable[[int], object] | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = rdf_format(self.path, name)
        self.skipped = 0
        self._base_iri = base_iri
        self._on_skip = on_skip
        self._on_read = on_read

    def __iter__(self) -> Iterator[Value]:
        import pyoxigraph as ox

        with self.path.open("rb") as file:
            label = hashlib.file_digest(file, "sha256").hexdigest()[:LABEL_HEX]
            file.seek(0)
            lines = _Lines(file, self._on_read)
            quads = ox.parse(cast("BinaryIO", lines), format=self.format, base_iri=self._base_iri)
            nodes: dict[str, str] = {}
            try:
                for quad in quads:
                    for term in (quad.subject, quad.predicate, quad.object, quad.graph_name):
                        kind = type(term)
                        if kind is ox.NamedNode:
                            yield "I", term.value, "", ""
                        elif kind is ox.BlankNode:
                            node = nodes.get(term.value)
                            if node is None:
                                node = nodes[term.value] = f"{label}-{len(nodes) + 1}"
                            yield "B", node, "", ""
                        elif kind is ox.Literal and term.direction is None:
                            yield "L", term.value, term.datatype.value, term.language or ""
                        elif kind is not ox.DefaultGraph:
                            self._skip(term, lines.number)
            except SyntaxError as error:
                error.lineno = error.lineno or lines.number  # not every format's parser knows
                raise
            for namespace in quads.prefixes.values():
                yield "N", namespace, "", ""

    def _skip(self, term: ox.Literal | ox.Triple, line: int) -> None:
        self.skipped += 1
        if self._on_skip is None:
            return
        import pyoxigraph as ox

        if isinstance(term, ox.Literal):
            what = f"a literal with a base direction, {_short(str(term))}"
            if self.format == ox.RdfFormat.JSON_LD:
                # The parser hands out a node when it is whole, which may be at the end of the file.
                line = _line_with(self.path, term.value) or line
        else:
            what = f"a triple term, {_short(str(term))}"
        self._on_skip(line, what)


class _Lines:
    """A file, handed to the parser line by line: `number` is then the line on which a statement was found."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int], object] | None) -> None:
        self.number = 1
        self._file = file
        self._on_read = on_read
        self._ended = False
        self._untold = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._file.readline(size)
        self.number += self._ended and bool(piece)
        self._ended = piece.endswith(b"\n")
        if self._on_read is not None:
            self._untold += len(piece)
            if self._untold >= READ_BYTES or not piece:
                self._on_read(self._untold)
                self._untold = 0
        return piece


def reason(error: SyntaxError) -> str:
    """What a parser's error says, without the place, which it has in `lineno` and `offset`."""
    return re.sub(r"^Parser error at .*?columns? \d+(?: and \d+)?: ", "", error.msg)


def _line_with(path: Path, text: str) -> int | None:
    """The first line (from 1) of a JSON file that has `text` as a string, or None."""
    import ujson

    forms = {ujson.dumps(text, ensure_ascii=ascii_, escape_forward_slashes=False) for ascii_ in (True, False)}
    pattern = re.compile("|".join(map(re.escape, forms)).encode())
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file, 1) if pattern.search(line)), None)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Dictionary:
    """The values of a log and their ids, both ways; takes some 400 bytes a value beside its text.

    A value minted under several ids keeps the lowest.

    Args:
        records: id -> record, as `walcore.recover(directory).records`.
    """

    def __init__(self, records: Mapping[int, Record] | None = None) -> None:
        self.ids: dict[Value, int] = {}
        self.values: dict[int, Value] = {}
        self.next_id = 1
        for id_, record in sorted((records or {}).items()):
            self.put(id_, (record.kind, record.lexical, record.datatype, record.language))

    def __len__(self) -> int:
        return len(self.values)

    def put(self, id_: int, value: Value) -> None:
        """Notes that `id_` stands for `value`; ids handed out later are above it."""
        self.values[id_] = value
        self.ids.setdefault(value, id_)
        self.next_id = max(self.next_id, id_ + 1)

    def add(self, value: Value) -> int | None:
        """The next free id for a value that has none yet; None for one that has.

        Raises:
            InvalidRecordError: the greatest id that 32 bits hold is taken.
        """
        if value in self.ids:
            return None
        id_ = self.next_id
        if id_ > MAX_INT32:
            msg = f"no id is left for {value[1]!r}: the greatest in the log is {MAX_INT32}, where ids end"
            raise InvalidRecordError(msg, field="id")
        self.ids[value] = id_
        self.values[id_] = value
        self.next_id = id_ + 1
        return id_
