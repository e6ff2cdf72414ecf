"""Records as Arrow: gathered into record batches without an object for each, handed over by the PyCapsule interface.

https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html.  The memory is that of batch.c, which may
be given back by any thread, with the GIL or without.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetInterrupt
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINTR, EINVAL, EIO, ENOMEM
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os

from walcore._core.batch cimport (
    ArrowArray, ArrowArrayStream, ArrowSchema, walcore_batch, walcore_batch_add, walcore_batch_lend, walcore_batch_new,
    walcore_batch_release, walcore_batch_reserve, walcore_batch_schema, walcore_batch_seed,
)
from walcore._core.jsonstring cimport ESCAPED, Span, unescape
from walcore._core.minted cimport Mint
from walcore._core.sink cimport Sink

from walcore.errors import InvalidRecordError

cdef extern from "Python.h":
    bint Py_IsInitialized() noexcept nogil

cdef enum:
    SURROGATES = 4      # a flag of spans made here: may hold lone surrogates as three bytes

# What `Appender.add` may answer, beside 0.
cdef enum:
    NO_MEMORY = 1
    BAD_LEXICAL
    BAD_DATATYPE
    BAD_LANGUAGE

cdef tuple FIELDS = ("", "", "lexical", "datatype", "language")

walcore_batch_seed(int.from_bytes(os.urandom(8), "little"))


cdef bint replace_surrogates(uint8_t *text, Py_ssize_t size, bint replace) noexcept nogil:
    """Make each lone surrogate, which UTF-8 has no bytes for, U+FFFD, which takes as many; False if that may not be."""
    cdef Py_ssize_t i
    for i in range(size - 2):
        if text[i] == 0xED and text[i + 1] >= 0xA0:
            if not replace:
                return False
            text[i] = 0xEF
            text[i + 1] = 0xBF
            text[i + 2] = 0xBD
    return True


@cython.final
cdef class Appender(Sink):
    """Appender(rows, text, replace=False)

    Gathers rows into RecordBatches of `rows` each, or fewer where the strings would take more than `text` bytes.  A
    lone surrogate is refused, or with `replace` becomes U+FFFD.
    """

    def __cinit__(self, size_t rows, size_t text, bint replace=False):
        if rows < 1:
            raise ValueError("a batch has at least one row")
        self.rows = rows
        self.text = text
        self.replace = replace

    def __dealloc__(self):
        cdef walcore_batch *next
        if self.batch is not NULL:
            walcore_batch_release(self.batch)
        while self.head is not NULL:
            next = self.head.next
            walcore_batch_release(self.head)
            self.head = next

    def append(self, record):
        """Append a Record.

        Raises:
            InvalidRecordError: it holds a lone surrogate.
        """
        cdef Mint mint
        cdef int problem
        lexical, datatype, language = [
            text.encode("utf-8", "surrogatepass") for text in (record.lexical, record.datatype, record.language)
        ]
        mint.lsn = record.lsn
        mint.id = record.id
        mint.hash = record.hash
        mint.kind = "IBLN".index(record.kind)
        point_at(&mint.lexical, lexical)
        point_at(&mint.datatype, datatype)
        point_at(&mint.language, language)
        problem = self.add(&mint)
        if problem:
            self.refuse(problem, mint.lsn)

    def take(self, bint begun=False):
        """The RecordBatches that are full, in order, and with `begun` the one that isn't yet."""
        cdef walcore_batch *batch
        taken = []
        if begun and self.batch is not NULL and self.batch.rows:
            self.finish_batch()
        while self.head is not NULL:
            batch = self.head
            self.head = batch.next
            taken.append(batch_of(batch))
        return taken

    cdef int add(self, const Mint *mint) noexcept nogil:
        cdef walcore_batch *batch = self.batch
        cdef size_t room = <size_t> (mint.lexical.size + mint.datatype.size + mint.language.size)
        cdef const uint8_t *datatype = mint.datatype.data
        cdef const uint8_t *language = mint.language.data
        cdef Py_ssize_t datatype_size = mint.datatype.size
        cdef Py_ssize_t language_size = mint.language.size
        cdef Py_ssize_t size
        cdef uint8_t *at
        if batch is NULL or batch.rows == self.rows or (batch.rows and text_of(batch) + room > self.text):
            if not self.next_batch():
                return NO_MEMORY
            batch = self.batch
        if walcore_batch_reserve(batch, room):
            return NO_MEMORY
        at = <uint8_t *> batch.lexicals.text + batch.lexicals.text_used
        size = self.put(&mint.lexical, at)
        if size < 0:
            return BAD_LEXICAL
        at += size
        if mint.datatype.flags & (ESCAPED | SURROGATES):        # unescaped in the room behind, and copied from there
            datatype = at
            datatype_size = self.put(&mint.datatype, at)
            if datatype_size < 0:
                return BAD_DATATYPE
            at += datatype_size
        if mint.language.flags & (ESCAPED | SURROGATES):
            language = at
            language_size = self.put(&mint.language, at)
            if language_size < 0:
                return BAD_LANGUAGE
        if walcore_batch_add(batch, mint.lsn, mint.id, mint.kind, <size_t> size, <const char *> datatype,
                             <size_t> datatype_size, <const char *> language, <size_t> language_size, mint.hash):
            return NO_MEMORY
        return Sink.add(self, mint)

    cdef int refuse(self, int problem, int64_t lsn) except -1:
        if problem == NO_MEMORY:
            raise MemoryError()
        field = FIELDS[problem]
        raise InvalidRecordError(
            f"LSN {lsn}: {field} holds a lone surrogate, which UTF-8 cannot; surrogates=\"replace\" makes it U+FFFD",
            field=field,
        )

    cdef bint next_batch(self) noexcept nogil:
        """Begin a batch, the one before is full; False: no memory."""
        cdef walcore_batch *batch = walcore_batch_new()
        if batch is NULL:
            return False
        if self.batch is not NULL:
            self.finish_batch()
        self.batch = batch
        return True

    cdef void finish_batch(self) noexcept nogil:
        if self.head is NULL:
            self.head = self.batch
        else:
            self.tail.next = self.batch
        self.tail = self.batch
        self.batch = NULL

    cdef inline Py_ssize_t put(self, const Span *span, uint8_t *at) noexcept nogil:
        """Write a string as UTF-8; its size, -1 if it holds what that cannot."""
        cdef Py_ssize_t size = span.size
        if not span.flags & ESCAPED:
            memcpy(at, span.data, <size_t> size)
        else:
            size = unescape(span.data, size, at)
        if span.flags & (ESCAPED | SURROGATES) and not replace_surrogates(at, size, self.replace):
            return -1
        return size


cdef inline size_t text_of(const walcore_batch *batch) noexcept nogil:
    return batch.lexicals.text_used + batch.datatypes.values.text_used + batch.languages.values.text_used


cdef int point_at(Span *span, bytes text) except -1:
    span.data = <const uint8_t *> PyBytes_AS_STRING(text)
    span.size = PyBytes_GET_SIZE(text)
    span.flags = SURROGATES
    return 0


@cython.final
cdef class RecordBatch:
    """Some records as an Arrow struct array, whose columns are the fields of Record: `len` is their number.

    `pyarrow.record_batch`, `polars.DataFrame` and whatever else knows the Arrow PyCapsule interface take it, as often
    as they like, without copying.
    """

    cdef walcore_batch *batch

    def __init__(self):
        raise TypeError("RecordBatches are made by read_arrow")

    def __dealloc__(self):
        if self.batch is not NULL:
            walcore_batch_release(self.batch)

    def __len__(self):
        return 0 if self.batch is NULL else <Py_ssize_t> self.batch.rows

    def __arrow_c_schema__(self):
        """The columns' names and types, as a capsule."""
        return schema_capsule()

    def __arrow_c_array__(self, requested_schema=None):
        """The schema and the data, as capsules; the types are what they are, whatever is requested."""
        cdef ArrowArray *array
        if self.batch is NULL:
            raise TypeError("RecordBatches are made by read_arrow")
        array = <ArrowArray *> calloc(1, sizeof(ArrowArray))
        if array is NULL:
            raise MemoryError()
        capsule = PyCapsule_New(array, "arrow_array", drop_array)
        if walcore_batch_lend(self.batch, array):
            raise MemoryError()
        return schema_capsule(), capsule


cdef RecordBatch batch_of(walcore_batch *batch):
    cdef RecordBatch made = RecordBatch.__new__(RecordBatch)
    made.batch = batch
    return made


# ---- Capsules --------------------------------------------------------------------------------------------------------

cdef void drop_schema(object capsule) noexcept:
    cdef ArrowSchema *schema = <ArrowSchema *> PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release is not NULL:
        schema.release(schema)
    free(schema)


cdef void drop_array(object capsule) noexcept:
    cdef ArrowArray *array = <ArrowArray *> PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release is not NULL:
        array.release(array)
    free(array)


cdef void drop_stream(object capsule) noexcept:
    cdef ArrowArrayStream *stream = <ArrowArrayStream *> PyCapsule_GetPointer(capsule, "arrow_array_stream")
    if stream.release is not NULL:
        stream.release(stream)
    free(stream)


def schema_capsule():
    """A capsule of the columns' names and types."""
    cdef ArrowSchema *schema = <ArrowSchema *> calloc(1, sizeof(ArrowSchema))
    if schema is NULL:
        raise MemoryError()
    capsule = PyCapsule_New(schema, "arrow_schema", drop_schema)
    if walcore_batch_schema(schema):
        raise MemoryError()
    return capsule


def stream_capsule(batches):
    """A capsule of a stream of the RecordBatches that the iterator `batches` gives."""
    cdef Stream state = Stream.__new__(Stream)
    cdef ArrowArrayStream *stream = <ArrowArrayStream *> calloc(1, sizeof(ArrowArrayStream))
    if stream is NULL:
        raise MemoryError()
    state.batches = batches
    capsule = PyCapsule_New(stream, "arrow_array_stream", drop_stream)
    stream.get_schema = stream_schema
    stream.get_next = stream_next
    stream.get_last_error = stream_error
    stream.release = stream_release
    Py_INCREF(state)
    stream.private_data = <void *> state
    return capsule


@cython.final
cdef class Stream:
    """What a stream goes on from."""

    cdef object batches
    cdef bytes error        # of the call that failed, for good: what comes after it must not look like the end
    cdef int code

    cdef int next(self, ArrowArray *out) noexcept:
        cdef RecordBatch batch
        if self.code:
            return self.code
        try:
            batch = next(self.batches, None)
            if batch is not None and walcore_batch_lend(batch.batch, out):
                raise MemoryError()
        except BaseException as error:
            try:
                self.fail(error)
            except BaseException:       # it can't even be told: all the same it is no end
                self.code = self.code or EIO
        return self.code

    cdef int fail(self, error) except -1:
        self.code = EINVAL
        self.batches = None
        if isinstance(error, OSError):
            self.code = error.errno or EIO
        elif isinstance(error, MemoryError):
            self.code = ENOMEM
        elif isinstance(error, KeyboardInterrupt):
            self.code = EINTR
        self.error = f"{type(error).__name__}: {error}".encode("utf-8", "replace")
        if self.code == EINTR:
            PyErr_SetInterrupt()        # whoever reads the stream makes another exception of it
        return 0


cdef int stream_schema(ArrowArrayStream *stream, ArrowSchema *out) noexcept nogil:
    return ENOMEM if walcore_batch_schema(out) else 0


cdef int stream_next(ArrowArrayStream *stream, ArrowArray *out) noexcept with gil:
    memset(out, 0, sizeof(ArrowArray))      # no `release`: the end
    return (<Stream> stream.private_data).next(out)


cdef const char *stream_error(ArrowArrayStream *stream) noexcept with gil:
    cdef bytes error = (<Stream> stream.private_data).error
    return NULL if error is None else PyBytes_AS_STRING(error)


cdef void stream_drop(ArrowArrayStream *stream) noexcept with gil:
    Py_DECREF(<Stream> stream.private_data)


cdef void stream_release(ArrowArrayStream *stream) noexcept nogil:
    if Py_IsInitialized():      # else there is nothing left to give it back to
        stream_drop(stream)
    stream.private_data = NULL
    stream.release = NULL
