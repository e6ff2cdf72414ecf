"""RDF terms and records: the mapping both ways, labels of blank nodes, what is left out, the dictionary."""

from __future__ import annotations

import hashlib

import pytest

ox = pytest.importorskip("pyoxigraph")

from walcore.errors import InvalidRecordError  # noqa: E402
from walcore.rdf import READ_BYTES, Dictionary, RdfFile, rdf_format, term_of, value_of  # noqa: E402
from walcore.record import Record  # noqa: E402

XSD = "http://www.w3.org/2001/XMLSchema#"
AB = "<http://e/a> <http://e/b>"
PREFIX = "@prefix : <http://e/> ."
RTL = '{"@value": "x", "@language": "en",\n"@direction": "rtl"}'
LANG = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"


def record(value, id_=1):
    return Record(1, id_, *value)


def written(tmp_path, text, name="data.ttl"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (ox.NamedNode("http://e/ä"), ("I", "http://e/ä", "", "")),
        (ox.BlankNode("b1"), ("B", "b1", "", "")),
        (ox.Literal("plain"), ("L", "plain", XSD + "string", "")),
        (ox.Literal("Zürich", language="de"), ("L", "Zürich", LANG, "de")),
        (ox.Literal("5", datatype=ox.NamedNode(XSD + "integer")), ("L", "5", XSD + "integer", "")),
    ],
)
def test_a_term_becomes_a_value_and_comes_back(term, value):
    assert value_of(term) == value
    assert term_of(record(value)) == term


def test_a_namespace_comes_back_as_its_iri_and_a_literal_without_datatype_as_a_plain_one():
    assert term_of(record(("N", "http://e/"))) == ox.NamedNode("http://e/")
    assert term_of(record(("L", "x"))) == ox.Literal("x")


def test_triple_terms_and_base_directions_are_no_values():
    triple = ox.Triple(ox.NamedNode("http://e/a"), ox.NamedNode("http://e/b"), ox.NamedNode("http://e/c"))
    with pytest.raises(InvalidRecordError, match="triple term"):
        value_of(triple)
    with pytest.raises(InvalidRecordError, match="base direction"):
        value_of(ox.Literal("x", language="ar", direction=ox.BaseDirection.RTL))
    with pytest.raises(TypeError, match="not str"):
        value_of("http://e/a")


def test_values_come_in_order_of_first_use_with_labels_made_of_the_content(tmp_path):
    text = "@prefix : <http://e/> .\n_:z :p _:a .\n_:a :p _:z, 'x' .\n"
    label = hashlib.sha256(text.encode()).hexdigest()[:16]
    values = list(dict.fromkeys(RdfFile(written(tmp_path, text))))
    assert values == [
        ("B", f"{label}-1", "", ""),
        ("I", "http://e/p", "", ""),
        ("B", f"{label}-2", "", ""),
        ("L", "x", XSD + "string", ""),
        ("N", "http://e/", "", ""),
    ]


def test_labels_of_anonymous_nodes_repeat_and_differ_between_files(tmp_path):
    text = "@prefix : <http://e/> . [ :p [ :q 1 ] ; :r ( 2 3 ) ] :s [] ."
    first, again = (set(RdfFile(written(tmp_path, text, name))) for name in ("one.ttl", "two.ttl"))
    other = set(RdfFile(written(tmp_path, text + "\n", "three.ttl")))
    assert first == again
    assert not {v for v in first if v[0] == "B"} & {v for v in other if v[0] == "B"}


def test_graph_names_are_values_and_the_default_graph_is_none(tmp_path):
    path = written(
        tmp_path, '<http://e/s> <http://e/p> <http://e/o> <http://e/g> .\n<http://e/s> <http://e/p> "x" .', "d.nq"
    )
    assert [v[1] for v in RdfFile(path)] == [
        "http://e/s",
        "http://e/p",
        "http://e/o",
        "http://e/g",
        "http://e/s",
        "http://e/p",
        "x",
    ]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("d.nt", f'{AB} "x"@en--ltr .\n\n{AB} "y"@en .\n{AB} <<( {AB} <http://e/c> )>> .\n', [1, 4]),
        ("d.ttl", f'{PREFIX}\n:a :b\n "x"@en--ltr,\n 1,\n "y"@ar--rtl ;\n :c <<( :a :b :c )>> .\n', [3, 5, 6]),
        ("d.ttl", f"{PREFIX}\r\n\r\n:a :b :c {{| :d 1 |}} .", [3]),
        ("d.ttl", f'{PREFIX}\n# {"x" * 5000}\n:a :b "y"@ar--rtl .', [3]),
        ("d.jsonld", f'{{"@context": {{"@vocab": "http://e/"}},\n"a": 1,\n"p": {RTL},\n"q": 2\n}}\n', [3]),
    ],
)
def test_what_can_not_be_a_value_is_told_with_its_line(tmp_path, name, text, lines):
    met = []
    file = RdfFile(written(tmp_path, text, name), on_skip=lambda line, what: met.append((line, what)))
    assert all(kind in "IBLN" for kind, *_ in file)
    assert [line for line, _ in met] == lines
    assert file.skipped == len(lines)
    assert all("base direction" in what or "triple term" in what for _, what in met)


def test_values_before_a_syntax_error_are_given(tmp_path):
    found = []
    with pytest.raises(SyntaxError) as error:
        found.extend(RdfFile(written(tmp_path, "<http://e/a> <http://e/b> 1 .\n<http://e/a> <rel> 2 .")))
    assert error.value.lineno == 2


@pytest.mark.parametrize(("name", "text"), [("d.rdf", "\n<rdf:RDF"), ("d.jsonld", '{\n"@id": 5'), ("d.nt", "\nx")])
def test_a_syntax_error_has_a_line_in_every_format(tmp_path, name, text):
    with pytest.raises(SyntaxError) as error:
        list(RdfFile(written(tmp_path, text, name)))
    assert error.value.lineno == 2


def test_relative_iris_need_a_base(tmp_path):
    path = written(tmp_path, "<a> <b> <c> .")
    assert [v[1] for v in RdfFile(path, base_iri="http://e/")] == ["http://e/a", "http://e/b", "http://e/c"]


@pytest.mark.parametrize(
    ("file", "name", "format_"),
    [
        ("a.ttl", None, ox.RdfFormat.TURTLE),
        ("a.owl", None, ox.RdfFormat.RDF_XML),
        ("a.jsonld", None, ox.RdfFormat.JSON_LD),
        ("a", "turtle", ox.RdfFormat.TURTLE),
        ("a.nt", "TTL", ox.RdfFormat.TURTLE),
        ("a", "text/turtle", ox.RdfFormat.TURTLE),
    ],
)
def test_formats_go_by_extension_name_or_media_type(tmp_path, file, name, format_):
    assert rdf_format(tmp_path / file, name) == format_


def test_an_unknown_format_says_which_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"extension of .*a\.doc.* ttl, nt"):
        rdf_format(tmp_path / "a.doc")
    with pytest.raises(ValueError, match="format 'docx'"):
        rdf_format(tmp_path / "a.ttl", "docx")


def test_a_dictionary_hands_out_ids_above_the_greatest():
    known = Dictionary({7: record(("I", "http://e/a"), 7), -3: record(("B", "b"), -3)})
    assert known.add(("I", "http://e/a", "", "")) is None
    assert known.add(("I", "http://e/b", "", "")) == 8
    known.put(20, ("I", "http://e/c", "", ""))
    known.put(3, ("I", "http://e/e", "", ""))
    assert known.add(("I", "http://e/d", "", "")) == 21
    assert len(known) == 6


def test_terms_that_differ_in_kind_datatype_or_language_have_ids_of_their_own():
    known = Dictionary()
    values = [
        ("I", "x", "", ""),
        ("N", "x", "", ""),
        ("B", "x", "", ""),
        ("L", "x", "", ""),
        ("L", "x", "d", ""),
        ("L", "x", "", "d"),
    ]
    assert [known.add(value) for value in values] == [1, 2, 3, 4, 5, 6]


def test_a_value_under_two_ids_keeps_the_lower():
    known = Dictionary({2: record(("I", "x"), 2), 1: record(("I", "x"), 1)})
    assert known.ids["I", "x", "", ""] == 1


def test_ids_end_where_32_bits_end():
    known = Dictionary({2**31 - 1: record(("I", "x"), 2**31 - 1)})
    with pytest.raises(InvalidRecordError, match="no id is left"):
        known.add(("I", "y", "", ""))


def test_what_is_left_out_is_shown_to_sixty_characters(tmp_path):
    for size in (1, 59, 60, 61, 500):
        met = []
        text = f'<http://e/a> <http://e/b> "{"y" * size}"@en--ltr .'
        list(RdfFile(written(tmp_path, text, "d.nt"), on_skip=lambda _, what, met=met: met.append(what)))
        (what,) = met
        shown = what.partition(", ")[2]
        whole = f'"{"y" * size}"@en--ltr'
        assert shown == (whole if len(whole) <= 60 else whole[:57] + "...")


@pytest.mark.parametrize("size", [0, 1, READ_BYTES - 1, READ_BYTES, 5 * READ_BYTES])
def test_what_was_read_is_told_in_steps_that_add_up(tmp_path, size):
    line = b"# a comment of some length, and no statement\n"
    path = tmp_path / "d.nt"
    path.write_bytes((line * (size // len(line) + 1))[:size])
    told = []
    assert list(RdfFile(path, on_read=told.append)) == []
    steps = [step for step in told if step]  # the end may be met several times
    assert sum(steps) == size
    assert all(READ_BYTES <= step < READ_BYTES + len(line) for step in steps[:-1])
    assert size < READ_BYTES or steps[0] < READ_BYTES + len(line)


def test_terms_that_are_left_out_are_counted_though_nobody_asks(tmp_path):
    file = RdfFile(written(tmp_path, f'{AB} "x"@en--ltr .\n{AB} "y" .\n{AB} <<( {AB} <http://e/c> )>> .\n', "d.nt"))
    assert [value[1] for value in file][-3:] == ["y", "http://e/a", "http://e/b"]
    assert file.skipped == 2
