"""Arrays of others, for log_mint_many: of Arrow, and of integers in buffers."""

from libc.stdint cimport int64_t, uint8_t

from walcore._core.batch cimport ArrowArray, ArrowArrayStream, ArrowSchema
from walcore._core.encode cimport Text


cdef enum:
    VALUE           # what reading one of them answers
    NULL_VALUE
    NOT_UTF8
    OUTSIDE         # an index with nothing in its dictionary


cdef struct Bits:                   # which of the values are there; NULL: all
    const uint8_t *bytes
    Py_ssize_t offset


cdef struct Integers:
    const char *base
    Py_ssize_t stride
    int width                       # in bytes
    bint signed


cdef struct Strings:
    int width                       # of an offset, in bytes; 16: views
    const char *offsets             # those of the first string, or its view
    const uint8_t *text
    const void **pieces             # the buffers that views point into
    Py_ssize_t count
    Bits there


cdef class Chunk:
    cdef object owner               # of the memory
    cdef Py_ssize_t length
    cdef bint is_text
    cdef bint coded                 # the integers are indices of the strings
    cdef Integers integers
    cdef Strings strings
    cdef Bits there
    cdef Bits row_there             # of the struct that this is a part of
    cdef Text *known                # one for each string of the dictionary; no data: not measured yet

    cdef int restrict(self, const ArrowArray *parent) except -1
    cdef int integer(self, Py_ssize_t i, int64_t *value) noexcept nogil
    cdef int text(self, Py_ssize_t i, Text *text) noexcept nogil
    cdef int find(self, Py_ssize_t *i) noexcept nogil
    cdef object largest(self, Py_ssize_t i)
    cdef object value(self, Py_ssize_t i, str field)


cdef class Type:
    cdef ArrowSchema schema


cdef class Foreign:
    cdef ArrowArray array
    cdef Type type


cdef class Stream:
    cdef ArrowArrayStream stream

    cdef int read_type(self, Type type) except -1
    cdef Foreign next(self, Type type)
    cdef int check(self, int code) except -1


cdef class Source:
    cdef readonly tuple names
    cdef Stream stream
    cdef Type type
    cdef Foreign only

    cdef Foreign next_array(self)
    cdef list chunks(self, str name, bint is_text)
    cdef dict parts(self, dict texts)
    cdef int check_parts(self, dict texts) except -1


cdef Chunk chunk_of_buffer(object values)
