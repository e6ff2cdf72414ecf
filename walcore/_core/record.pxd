"""C view of `Record`, for those who read its fields without Python."""

from libc.stdint cimport int32_t, int64_t


cdef class Record:
    cdef readonly int64_t lsn
    cdef readonly int32_t id
    # These four, in this order and right before `hash`: the module makes them members.
    cdef object kind                 # a one-letter str, as a rule a ValueKind
    cdef object lexical              # str, exactly; so are the next two
    cdef object datatype
    cdef object language
    cdef readonly int32_t hash
    cdef int32_t turn                # in which `index` entered it


cdef int64_t integer(object value, str field, int64_t low, int64_t high) except? -1
