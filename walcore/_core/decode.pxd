"""C view of the decoder: `Record`, for those who read its fields without Python."""

from libc.stdint cimport int32_t, int64_t


cdef class Record:
    cdef readonly int64_t lsn
    cdef readonly int32_t id
    cdef readonly object kind        # a one-letter str, as a rule a ValueKind
    cdef readonly object lexical     # str, exactly; so are the next two
    cdef readonly object datatype
    cdef readonly object language
    cdef readonly int32_t hash
    cdef int32_t turn                # in which `index` entered it
