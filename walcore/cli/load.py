"""`walcore load`: terms of RDF files, or records as NDJSON, into a log; new ones only."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from walcore.cli import DAMAGE, FAILURE, OK
from walcore.cli.damage import show_losses, show_opening
from walcore.cli.options import as_json, wal_option
from walcore.cli.output import console, count, new_table, progress, rate, talk, write_json
from walcore.format import MAX_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from walcore.rdf import Dictionary, Value
    from walcore.wal import Wal

NDJSON: Final = ("ndjson", "jsonl")
# The longest record's, whose keys are longer here than in a frame.
LINE_BYTES: Final = MAX_JSON_BYTES + 4096


@dataclasses.dataclass(frozen=True)
class Input:
    """A file to load: `path` is where its bytes are, `name` what the user calls it; no format means NDJSON."""

    path: Path
    name: str
    format: str | None


@dataclasses.dataclass
class Loaded:
    """What became of one file: values met (repeats included), logged, left out; why it was not read to its end."""

    file: str
    met: int = 0
    new: int = 0
    left_out: int = 0
    error: str | None = None
    seconds: float = 0.0

    def leave_out(self, line: int, what: str) -> None:
        """Says that a value is not taken."""
        self.left_out += 1
        talk(f"{self.file}:{line}: left out: {what}")

    def fail(self, line: int | None, why: str) -> None:
        """Says that the rest of the file is not taken."""
        self.error = f"{self.file}:{line}: {why}"
        talk(f"{self.error}; the rest of this file is left out")


@click.command(short_help="Log the terms of RDF files, new ones only.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True,
                type=click.Path(exists=True, dir_okay=False, allow_dash=True))  # fmt: skip
@wal_option(exists=False)
@click.option("--format", "format_", metavar="FORMAT",
              help="ttl, nt, nq, trig, n3, rdf, jsonld, a media type, or ndjson; default: by extension.")  # fmt: skip
@click.option("--base", metavar="IRI", help="What relative IRIs are resolved against; without it they are errors.")
@click.option("--commit-every", type=click.IntRange(min=1), default=10_000, show_default=True, metavar="N",
              help="Wait for the disk after so many records.")  # fmt: skip
@as_json
def command(
    files: tuple[str, ...], wal: Path, format_: str | None, base: str | None, commit_every: int, as_json: bool
) -> int:
    """Log every distinct term of RDF files that the log in DIR doesn't have yet; DIR is made if need be.

    Subjects, predicates, objects and graph names become IRIs, blank nodes and literals, prefixes become
    namespaces; ids go on above the greatest in the log.  Blank nodes are labelled by the file's content,
    so a second load of the same file logs nothing.  Triple terms and literals with a base direction can't
    be values: each is named with its line, left out, and makes the exit status 1.

    NDJSON is what `walcore cat --json` prints; a line without an id gets the next one, an empty line is passed
    over.  "-" is stdin, NDJSON unless --format says otherwise.  All values of the log are held in memory meanwhile.
    A damaged log takes no terms: exit status 1.

    \b
      walcore load ontology.ttl dump.nq --wal store/wal
      curl -s https://example.org/data.nt | walcore load - --format nt --wal store/wal
      walcore cat old/wal --json | walcore load - --wal store/wal
    """
    import walcore
    from walcore.rdf import Dictionary

    with contextlib.ExitStack() as stack:
        inputs = [_input(name, format_, stack) for name in files]
        log = stack.enter_context(walcore.open(wal))
        show_opening(log.opening)
        if show_losses(log.opening):
            talk(
                "nothing is loaded, since the ids of what is lost could be given out again: `walcore verify` tells more"
            )
            return DAMAGE
        known = Dictionary(walcore.recover(wal).records)
        bar = stack.enter_context(progress())
        results = []
        for item in inputs:
            task = bar.add_task(item.name[-28:], total=item.path.stat().st_size)
            loader = Loader(log, known, commit_every, lambda size, task=task: bar.advance(task, size))  # type: ignore[misc]
            results.append(loader.load(item, base))
    _show(results, as_json=as_json)
    if any(result.error for result in results):
        return FAILURE
    return DAMAGE if any(result.left_out for result in results) else OK


def _input(name: str, format_: str | None, stack: contextlib.ExitStack) -> Input:
    """Looks at name and format before anything is opened; a pipe goes to a file, its SHA-256 comes first."""
    wanted = (format_ or ("ndjson" if name == "-" else Path(name).suffix)).lower().removeprefix(".")
    if wanted not in NDJSON:
        from walcore.rdf import rdf_format

        try:
            rdf_format(Path(name), format_)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    path = Path(name) if Path(name).is_file() and name != "-" else _spooled(name, stack)
    return Input(path, "stdin" if name == "-" else name, None if wanted in NDJSON else wanted)


def _spooled(name: str, stack: contextlib.ExitStack) -> Path:
    """A pipe's bytes in a file, which goes with `stack`."""
    import shutil
    import tempfile

    file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="walcore-"))  # noqa: SIM115 - it is one
    with click.open_file(name, "rb") as pipe:
        shutil.copyfileobj(pipe, file)
    file.flush()
    return Path(file.name)


class Loader:
    """Logs the new values of files in batches, with a commit at the end of each."""

    def __init__(self, wal: Wal, known: Dictionary, batch: int, on_read: Callable[[int], Any]) -> None:
        self._wal = wal
        self._known = known
        self._batch = batch
        self._on_read = on_read
        self._rows: list[tuple[int, Value, int]] = []

    def load(self, item: Input, base: str | None) -> Loaded:
        """One file; what is wrong with it is said at once, and what it gave until then is kept."""
        result = Loaded(item.name)
        start = time.perf_counter()
        rows = self._records(item, result) if item.format is None else self._terms(item, base, result)
        for row in rows:
            result.new += 1
            self._rows.append(row)
            if len(self._rows) >= self._batch:
                self._commit()
        self._commit()
        result.seconds = round(time.perf_counter() - start, 6)
        return result

    def _terms(self, item: Input, base: str | None, result: Loaded) -> Iterator[tuple[int, Value, int]]:
        from walcore.rdf import RdfFile, reason

        file = RdfFile(item.path, item.format, base_iri=base, on_skip=result.leave_out, on_read=self._on_read)
        add = self._known.add
        try:
            for value in file:
                result.met += 1
                id_ = add(value)
                if id_ is not None:
                    yield id_, value, 0
        except SyntaxError as error:
            result.fail(error.lineno, reason(error))

    def _records(self, item: Input, result: Loaded) -> Iterator[tuple[int, Value, int]]:
        from walcore.cli.ndjson import SHOWN_CHARS, from_json

        with item.path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LINE_BYTES + 1), b""), 1):
                self._on_read(len(line))
                if line.isspace():
                    continue
                if len(line) > LINE_BYTES:
                    return result.fail(number, f"not a record: a line of more than {LINE_BYTES} bytes")
                try:
                    id_, value, hash_ = from_json(line)
                except ValueError as error:
                    return result.fail(number, f"not a record: {error}")
                result.met += 1
                if id_ is None:
                    id_ = self._known.add(value)
                elif self._known.values.get(id_, value) != value:
                    # An id that changes its meaning is the worst that can happen to a store's dictionary.
                    shown = repr(self._known.values[id_][1][:SHOWN_CHARS])
                    result.leave_out(number, f"id {id_} is another value already: {shown}")
                    id_ = None
                elif id_ in self._known.values:
                    id_ = None
                else:
                    self._known.put(id_, value)
                if id_ is not None:
                    yield id_, value, hash_
        return None

    def _commit(self) -> None:
        if not self._rows:
            return
        ids, values, hashes = zip(*self._rows, strict=True)
        kinds, lexicals, datatypes, languages = zip(*values, strict=True)
        _, last = self._wal.log_mint_many(ids, kinds, lexicals, datatypes, languages, hashes)
        self._wal.commit(last)
        self._rows.clear()


def _show(results: list[Loaded], *, as_json: bool) -> None:
    if as_json:
        for result in results:
            write_json(dataclasses.asdict(result))
        return
    table = new_table(
        "",
        "file",
        "terms met",
        "new",
        "left out",
        "seconds",
        "met",
        right=("terms met", "new", "left out", "seconds", "met"),
    )
    for result in results:
        row = (
            count(result.met),
            count(result.new),
            count(result.left_out),
            f"{result.seconds:.2f}",
            rate(result.met, result.seconds),
        )
        table.add_row(result.file + (" (not to its end)" if result.error else ""), *row)
    console().print(table)
