"""C view of the decoder: `Record`, for those who read its fields without Python."""

from libc.stdint cimport int32_t, int64_t

from walcore._core.jsonstring cimport Span


cdef class Record:
    cdef readonly int64_t lsn
    cdef readonly int32_t id
    cdef readonly object kind        # a one-letter str, as a rule a ValueKind
    cdef readonly object lexical     # str, exactly; so are the next two
    cdef readonly object datatype
    cdef readonly object language
    cdef readonly int32_t hash
    cdef int32_t turn                # in which `index` entered it


# A canonical mint frame, taken apart but not yet turned into objects.
cdef struct Mint:
    int64_t lsn
    int32_t id
    int32_t hash
    int kind                         # index into the four kinds I B L N
    Span lexical
    Span datatype
    Span language
