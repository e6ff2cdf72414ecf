"""What log_mint_many was given, measured slice by slice."""

from walcore._core.encode cimport Mint


cdef class Rows:
    cdef Mint *mints            # the slice: measured rows whose strings `held` or the columns keep alive
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef Py_ssize_t frame_bytes     # the most that the slice's frames can take
    cdef Py_ssize_t row         # index of the next row to measure
    cdef list held
    cdef Mint *room_for_one(self) except NULL
    cdef bint add(self, Py_ssize_t limit) noexcept nogil
    cdef bint fill(self, Py_ssize_t limit) except -1
