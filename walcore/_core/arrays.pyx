"""Arrays of others, for log_mint_many: of Arrow, and of integers in buffers; read where they lie.

Whatever has `__arrow_c_array__` or `__arrow_c_stream__` is one of Arrow.  What its producer says of lengths and offsets
is believed, as everybody does who shares memory; that text is UTF-8 and that an index is in its dictionary isn't.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport (
    INT64_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from walcore._core.batch cimport ArrowArray, ArrowArrayStream, ArrowSchema
from walcore._core.encode cimport Text, measure_utf8

from walcore.errors import InvalidRecordError

cdef extern from "Python.h":
    object PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors)

# The letters of integers, Arrow's and the buffer protocol's; those with a sign are small.
cdef dict WIDTHS = {"c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "l": 8, "L": 8}
cdef bytes BUFFER_LETTERS = b"bhilqBHILQ"
# Arrow's utf8, large_utf8 and utf8_view, with the bytes of an offset or view.
cdef dict TEXT_WIDTHS = {"u": 4, "U": 8, "vu": 16}
cdef int32_t INLINE_VIEW = 12


def is_arrow(values):
    """Whether it gives an Arrow array, or some of them."""
    return hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__")


# ---- Reading one value -----------------------------------------------------------------------------------------------

cdef inline bint is_there(const Bits *bits, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t at = bits.offset + i
    return bits.bytes is NULL or bits.bytes[at >> 3] >> (at & 7) & 1


cdef inline int64_t integer_at(const Integers *integers, Py_ssize_t i) noexcept nogil:
    """The integer, wherever it lies; one above 63 bits as the largest of these."""
    cdef const char *at = integers.base + i * integers.stride
    cdef uint8_t one = 0
    cdef uint16_t two = 0
    cdef uint32_t four = 0
    cdef uint64_t eight = 0
    if integers.width == 4:
        memcpy(&four, at, 4)
        return <int64_t> <int32_t> four if integers.signed else <int64_t> four
    if integers.width == 8:
        memcpy(&eight, at, 8)
        return <int64_t> eight if integers.signed or eight <= <uint64_t> INT64_MAX else INT64_MAX
    if integers.width == 2:
        memcpy(&two, at, 2)
        return <int64_t> <int16_t> two if integers.signed else <int64_t> two
    memcpy(&one, at, 1)
    return <int64_t> <int8_t> one if integers.signed else <int64_t> one


cdef inline const uint8_t *string_at(const Strings *strings, Py_ssize_t i, Py_ssize_t *size) noexcept nogil:
    cdef int32_t small[2]
    cdef int64_t large[2]
    cdef int32_t view[4]
    cdef const char *at = strings.offsets + i * strings.width
    if strings.width == 4:
        memcpy(small, at, 8)
        size[0] = small[1] - small[0]
        return strings.text + small[0]
    if strings.width == 8:
        memcpy(large, at, 16)
        size[0] = <Py_ssize_t> (large[1] - large[0])
        return strings.text + large[0]
    memcpy(view, at, 16)
    size[0] = view[0]
    if view[0] <= INLINE_VIEW:
        return <const uint8_t *> at + 4
    return <const uint8_t *> strings.pieces[view[2]] + view[3]


@cython.final
cdef class Chunk:
    """One array: integers, strings, or indices of strings in a dictionary, each of which is measured but once."""

    def __init__(self):
        raise TypeError("chunks are made of arrays")

    def __dealloc__(self):
        free(self.known)

    cdef int integer(self, Py_ssize_t i, int64_t *value) noexcept nogil:
        """VALUE, or NULL_VALUE."""
        if not is_there(&self.there, i) or not is_there(&self.row_there, i):
            return NULL_VALUE
        value[0] = integer_at(&self.integers, i)
        return VALUE

    cdef int restrict(self, const ArrowArray *parent) except -1:
        """Be the part of a struct, which may be of fewer rows, or have rows that are null."""
        cdef Py_ssize_t offset = <Py_ssize_t> parent.offset
        self.length = <Py_ssize_t> parent.length
        self.there.offset += offset
        take_bits(&self.row_there, parent)
        self.integers.base += offset * self.integers.stride
        if not self.coded:
            self.strings.offsets += offset * self.strings.width
        return 0

    cdef int text(self, Py_ssize_t i, Text *text) noexcept nogil:
        """VALUE, or what is wrong with it."""
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t at = i
        cdef int problem = self.find(&at)
        if problem != VALUE:
            return problem
        if self.coded and self.known[at].data is not NULL:
            text[0] = self.known[at]
            return VALUE
        data = string_at(&self.strings, at, &size)
        if not measure_utf8(data, size, text):
            return NOT_UTF8
        if self.coded:
            self.known[at] = text[0]
        return VALUE

    cdef int find(self, Py_ssize_t *i) noexcept nogil:
        """Turn a row into the index of its string; VALUE, or what is wrong with it."""
        cdef int64_t index
        if not is_there(&self.there, i[0]) or not is_there(&self.row_there, i[0]):
            return NULL_VALUE
        if self.coded:
            index = integer_at(&self.integers, i[0])
            if not 0 <= index < self.strings.count:
                return OUTSIDE
            i[0] = <Py_ssize_t> index
            if not is_there(&self.strings.there, i[0]):
                return NULL_VALUE
        return VALUE

    cdef object largest(self, Py_ssize_t i):
        """The integer that `integer` gives as INT64_MAX."""
        cdef uint64_t number = 0
        memcpy(&number, self.integers.base + i * self.integers.stride, 8)
        return number

    cdef object value(self, Py_ssize_t i, str field):
        """The value as an object.

        Raises:
            InvalidRecordError: there is none.
        """
        cdef int64_t number = 0
        cdef Py_ssize_t size = 0
        cdef const uint8_t *data
        cdef int problem
        if not self.is_text:
            problem = self.integer(i, &number)
        else:
            problem = self.find(&i)
        if problem == NULL_VALUE:
            raise InvalidRecordError(f"{field} is null", field=field)
        if problem == OUTSIDE:
            raise InvalidRecordError(f"{field} is an index outside of its dictionary", field=field)
        if not self.is_text:
            return number if number != INT64_MAX else self.largest(i)
        data = string_at(&self.strings, i, &size)
        try:
            return PyUnicode_DecodeUTF8(<const char *> data, size, NULL)
        except UnicodeDecodeError as error:
            raise InvalidRecordError(f"{field} is not valid UTF-8: {error}", field=field) from None


# ---- Arrow -----------------------------------------------------------------------------------------------------------

@cython.final
cdef class Foreign:
    """An array that came, with its type; given back with the last chunk that reads it."""

    def __dealloc__(self):
        if self.array.release is not NULL:
            with nogil:
                self.array.release(&self.array)


@cython.final
cdef class Type:
    """A schema that came."""

    def __dealloc__(self):
        if self.schema.release is not NULL:
            self.schema.release(&self.schema)


@cython.final
cdef class Stream:
    """A stream that came."""

    def __dealloc__(self):
        if self.stream.release is not NULL:
            with nogil:     # it may wait for a thread of its own, that needs the GIL
                self.stream.release(&self.stream)

    cdef int read_type(self, Type type) except -1:
        cdef int code
        with nogil:     # a producer may wait for a thread that needs the GIL
            code = self.stream.get_schema(&self.stream, &type.schema)
        return self.check(code)

    cdef Foreign next(self, Type type):
        """None at the end."""
        cdef Foreign made = Foreign.__new__(Foreign)
        cdef int code
        made.type = type
        with nogil:
            code = self.stream.get_next(&self.stream, &made.array)
        self.check(code)
        return made if made.array.release is not NULL else None

    cdef int check(self, int code) except -1:
        cdef const char *told
        if code == 0:
            return 0
        told = self.stream.get_last_error(&self.stream)
        message = "reading the Arrow stream failed" if told is NULL else told.decode("utf-8", "replace")
        if code == EINVAL:
            raise ValueError(message)
        if code == ENOMEM:
            raise MemoryError(message)
        raise OSError(code, message)


@cython.final
cdef class Source:
    """Source(values)

    The arrays, one or many, that an object of Arrow gives, in order; `names` are those of their parts, if they are
    structs.
    """

    def __init__(self, values):
        cdef ArrowSchema *schema
        cdef ArrowArray *array
        cdef ArrowArrayStream *stream
        self.type = Type.__new__(Type)
        if hasattr(values, "__arrow_c_array__"):
            schema_capsule, array_capsule = values.__arrow_c_array__()
            schema = <ArrowSchema *> PyCapsule_GetPointer(schema_capsule, "arrow_schema")
            array = <ArrowArray *> PyCapsule_GetPointer(array_capsule, "arrow_array")
            if schema.release is NULL or array.release is NULL:
                raise ValueError("the Arrow array was taken by somebody else before")
            self.only = Foreign.__new__(Foreign)
            self.only.type = self.type
            self.type.schema = schema[0]
            self.only.array = array[0]
            schema.release = NULL       # moved
            array.release = NULL
        else:
            capsule = values.__arrow_c_stream__()
            stream = <ArrowArrayStream *> PyCapsule_GetPointer(capsule, "arrow_array_stream")
            if stream.release is NULL:
                raise ValueError("the Arrow stream was taken by somebody else before")
            self.stream = Stream.__new__(Stream)
            self.stream.stream = stream[0]
            stream.release = NULL
            self.stream.read_type(self.type)
        schema = &self.type.schema
        self.names = None
        if schema.format == b"+s":
            self.names = tuple([name_of(schema.children[i]) for i in range(schema.n_children)])

    cdef Foreign next_array(self):
        """None at the end."""
        cdef Foreign made = self.only
        self.only = None
        if made is None and self.stream is not None:
            made = self.stream.next(self.type)
        return made

    cdef list chunks(self, str name, bint is_text):
        """All arrays, as one column's."""
        cdef list found = []
        cdef Foreign array = self.next_array()
        check_type(&self.type.schema, name, is_text)
        while array is not None:
            found.append(chunk_of(array, &self.type.schema, &array.array, is_text))
            array = self.next_array()
        return found

    cdef dict parts(self, dict texts):
        """The parts of the next array by name, of those that are in `texts` (name -> whether it is text); None at the
        end."""
        cdef dict found = {}
        cdef Chunk chunk
        cdef Foreign array = self.next_array()
        if array is None:
            return None
        for i, name in enumerate(self.names):
            if name in texts:
                chunk = chunk_of(array, self.type.schema.children[i], array.array.children[i], texts[name])
                chunk.restrict(&array.array)
                found[name] = chunk
        return found

    cdef int check_parts(self, dict texts) except -1:
        """Whether the parts have the types that `texts` wants."""
        for i, name in enumerate(self.names):
            if name in texts:
                check_type(self.type.schema.children[i], name, texts[name])
        return 0


cdef str name_of(const ArrowSchema *schema):
    return "" if schema.name is NULL else schema.name.decode()


cdef int check_type(const ArrowSchema *schema, str name, bint is_text) except -1:
    format = schema.format.decode() if schema.dictionary is NULL else schema.dictionary.format.decode()
    if format not in (TEXT_WIDTHS if is_text else WIDTHS) or (schema.dictionary is not NULL and not is_text):
        wanted = "of strings" if is_text else "of integers"
        raise TypeError(f"{name} must be an array {wanted}, not one of Arrow's format {format!r}")
    return 0


cdef Chunk chunk_of(Foreign owner, const ArrowSchema *schema, const ArrowArray *array, bint is_text):
    """One column's array, whose type was checked."""
    cdef Chunk chunk = Chunk.__new__(Chunk)
    chunk.owner = owner
    chunk.length = <Py_ssize_t> array.length
    chunk.is_text = is_text
    take_bits(&chunk.there, array)
    chunk.coded = is_text and schema.dictionary is not NULL
    if chunk.coded:
        take_integers(&chunk.integers, schema, array)
        take_strings(&chunk.strings, schema.dictionary, array.dictionary)
        chunk.known = <Text *> calloc(<size_t> chunk.strings.count + 1, sizeof(Text))
        if chunk.known is NULL:
            raise MemoryError()
    elif is_text:
        take_strings(&chunk.strings, schema, array)
    else:
        take_integers(&chunk.integers, schema, array)
    return chunk


cdef int take_bits(Bits *bits, const ArrowArray *array) except -1:
    bits.bytes = NULL
    if array.null_count != 0 and array.length != 0:
        bits.bytes = <const uint8_t *> array.buffers[0]
    bits.offset = <Py_ssize_t> array.offset
    return 0


cdef int take_integers(Integers *integers, const ArrowSchema *schema, const ArrowArray *array) except -1:
    format = schema.format.decode()
    integers.width = WIDTHS[format]
    integers.signed = format.islower()
    integers.stride = integers.width
    integers.base = <const char *> array.buffers[1] + array.offset * integers.width
    return 0


cdef int take_strings(Strings *strings, const ArrowSchema *schema, const ArrowArray *array) except -1:
    take_bits(&strings.there, array)
    strings.width = TEXT_WIDTHS[schema.format.decode()]
    strings.offsets = <const char *> array.buffers[1] + array.offset * strings.width
    if strings.width != 16:
        strings.text = <const uint8_t *> array.buffers[2]
    strings.pieces = array.buffers + 2
    strings.count = <Py_ssize_t> array.length
    return 0


# ---- Buffers ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class Exported:
    """A buffer that came."""

    cdef Py_buffer view
    cdef bint here

    def __dealloc__(self):
        if self.here:
            PyBuffer_Release(&self.view)


cdef Chunk chunk_of_buffer(object values):
    """The integers of a buffer of one dimension; None if it isn't one."""
    cdef Exported owner = Exported.__new__(Exported)
    cdef Chunk chunk
    cdef bytes letter
    if not PyObject_CheckBuffer(values):
        return None
    try:
        PyObject_GetBuffer(values, &owner.view, PyBUF_FORMAT | PyBUF_STRIDED_RO)
    except (BufferError, ValueError):
        return None
    owner.here = True
    letter = b"B" if owner.view.format is NULL else owner.view.format
    if owner.view.ndim != 1 or len(letter) != 1 or letter not in BUFFER_LETTERS:
        return None
    chunk = Chunk.__new__(Chunk)
    chunk.owner = owner
    chunk.length = owner.view.shape[0]
    chunk.integers.base = <const char *> owner.view.buf
    chunk.integers.stride = owner.view.strides[0]
    chunk.integers.width = <int> owner.view.itemsize
    chunk.integers.signed = letter.islower()
    return chunk
