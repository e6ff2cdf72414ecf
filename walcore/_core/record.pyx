"""`Record`, and what is done with many of them: a dictionary by id, their weight, rows to be spilled."""

cimport cython
from cpython.dict cimport PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, int32_t, int64_t

from walcore.errors import InvalidRecordError

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        const char* name
        int type
        Py_ssize_t offset
        int flags
        const char* doc
    int T_OBJECT_EX
    int READONLY

cdef extern from "Python.h":
    object PyDescr_NewMember(PyTypeObject* type, PyMemberDef* member)
    void PyType_Modified(PyTypeObject* type)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_KIND(object text)
    object PyUnicode_FromObject(object text)

cdef enum:
    ROOM = 400        # bytes that a Record, its strs, its id and its place in a growing dictionary take beside text


cdef object _text(object value, str field):
    if not isinstance(value, str):
        raise TypeError(f"{field} must be a str, not {type(value).__name__}")
    return PyUnicode_FromObject(value)      # a subclass could form a cycle, which a type without GC must never hold


cdef int64_t integer(object value, str field, int64_t low, int64_t high) except? -1:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{field} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise InvalidRecordError(f"{field} must be from {low} to {high}, got {value}", field=field)
    return value


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Record:
    """Record(lsn, id, kind, lexical, datatype='', language='', hash=0)

    One minted value.  `lsn` is signed 64-bit (0 if it was never logged), `id` and `hash` are signed 32-bit; `kind` is
    a ValueKind, or the letter given; `datatype` and `language` are empty where the value has none.  Immutable.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRecordError: a number is out of range or `kind` is none of I, B, L, N.
    """

    __match_args__ = ("lsn", "id", "kind", "lexical", "datatype", "language", "hash")

    def __init__(self, lsn, id, kind, lexical, datatype="", language="", hash=0):
        if self.lexical is not None:
            raise TypeError("a Record can't be changed")
        if not isinstance(kind, str):
            raise TypeError(f"kind must be a ValueKind or its letter, not {type(kind).__name__}")
        if kind not in ("I", "B", "L", "N"):
            raise InvalidRecordError(f"kind must be one of I, B, L, N, got {kind!r}", field="kind")
        self.lsn = integer(lsn, "lsn", INT64_MIN, INT64_MAX)
        self.id = <int32_t> integer(id, "id", INT32_MIN, INT32_MAX)
        self.hash = <int32_t> integer(hash, "hash", INT32_MIN, INT32_MAX)
        self.kind = kind
        self.datatype = _text(datatype, "datatype")
        self.language = _text(language, "language")
        self.lexical = _text(lexical, "lexical")

    def __eq__(self, other):
        if not isinstance(other, Record):
            return NotImplemented
        cdef Record that = <Record> other
        return (
            self.lsn == that.lsn and self.id == that.id and self.hash == that.hash and _same_value(self, that)
        )

    def __hash__(self):
        return hash((self.lsn, self.id, self.kind, self.lexical, self.datatype, self.language, self.hash))

    def __repr__(self):
        return (
            f"Record(lsn={self.lsn}, id={self.id}, kind={str(self.kind)!r}, lexical={self.lexical!r}, "
            f"datatype={self.datatype!r}, language={self.language!r}, hash={self.hash})"
        )

    def __reduce__(self):
        return Record, (self.lsn, self.id, self.kind, self.lexical, self.datatype, self.language, self.hash)


cdef PyMemberDef[4] MEMBERS


cdef object _add_member(Py_ssize_t place, const char* name):
    """Add the field at `place` among the strs, to be read by the interpreter in place: a property costs it a call."""
    cdef Record record = Record.__new__(Record)
    cdef const char* behind = <const char*> &record.hash
    MEMBERS[place].name = name
    MEMBERS[place].type = T_OBJECT_EX
    MEMBERS[place].flags = READONLY
    MEMBERS[place].offset = behind - <const char*> <PyObject*> record - (4 - place) * <Py_ssize_t> sizeof(PyObject*)
    fields = <dict> (<PyTypeObject*> Record).tp_dict
    fields[name.decode()] = PyDescr_NewMember(<PyTypeObject*> Record, &MEMBERS[place])
    PyType_Modified(<PyTypeObject*> Record)


_add_member(0, b"kind")
_add_member(1, b"lexical")
_add_member(2, b"datatype")
_add_member(3, b"language")


cdef bint _same_value(Record one, Record two):
    return (
        one.kind == two.kind and one.lexical == two.lexical and one.datatype == two.datatype
        and one.language == two.language
    )


def same_value(Record one not None, Record two not None):
    """Whether two records stand for the same value: kind, lexical, datatype and language (not the hash) are equal."""
    return _same_value(one, two)


def index(dict records not None, list batch not None, int32_t turn, dict before not None):
    """Enter each Record of `batch` into `records` (id -> Record); return those whose id is there from the same turn.

    These aren't entered: which of the two counts is the caller's decision.  What an earlier turn has entered gives way
    and goes to `before`.
    """
    cdef list clashes = []
    cdef Record record
    cdef PyObject* old
    for record in batch:
        record.turn = turn
        key = record.id
        old = PyDict_GetItem(records, key)
        if old is not NULL:
            if (<Record> old).turn == turn:
                clashes.append(record)
                continue
            PyDict_SetItem(before, key, <object> old)
        PyDict_SetItem(records, key, record)
    return clashes


cdef inline Py_ssize_t _weight(object text):
    return PyUnicode_GET_LENGTH(text) * <Py_ssize_t> PyUnicode_KIND(text)


cdef inline Py_ssize_t _weight_of(Record record):
    """Bytes of memory that a dictionary takes for it at most, the growing of the dictionary included."""
    return _weight(record.lexical) + _weight(record.datatype) + _weight(record.language) + ROOM


def weigh(list batch not None):
    """Bytes of memory that a dictionary of these Records takes at most, the growing of the dictionary included."""
    cdef Py_ssize_t total = 0
    cdef Record record
    for record in batch:
        total += _weight_of(record)
    return total


def turn_of(Record record not None):
    """The turn in which `index` entered it."""
    return record.turn


def rows(list records not None, Py_ssize_t start, Py_ssize_t limit):
    """The Records from `start` on as tuples of plain ints and strs, and the place behind the last.

    So many as weigh `limit` bytes, and further ones of the last one's id.
    """
    cdef list out = []
    cdef Record record
    cdef Py_ssize_t total = 0
    cdef int32_t last = 0
    while start < len(records):
        record = <Record?> records[start]
        if total >= limit and record.id != last:
            break
        last = record.id
        total += _weight_of(record)
        out.append((
            record.id, record.turn, record.lsn, str.__str__(record.kind), record.lexical, record.datatype,
            record.language, record.hash,
        ))
        start += 1
    return out, start


def of_rows(list rows not None, dict kinds not None):
    """The Records that `rows` were made from; `kinds` has the object for each letter."""
    cdef list records = []
    cdef Record record
    for id, turn, lsn, letter, lexical, datatype, language, hash in rows:
        record = Record.__new__(Record)
        record.id = id
        record.turn = turn
        record.lsn = lsn
        record.kind = kinds[letter]
        record.lexical = _text(lexical, "lexical")
        record.datatype = _text(datatype, "datatype")
        record.language = _text(language, "language")
        record.hash = hash
        records.append(record)
    return records
