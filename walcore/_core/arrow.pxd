"""Record batches being made; what the decoder appends to."""

from libc.stdint cimport int64_t, uint8_t

from walcore._core.batch cimport walcore_batch
from walcore._core.jsonstring cimport Span
from walcore._core.minted cimport Mint


cdef enum:
    RECENT = 512        # LSNs of a lot that are kept


cdef class Appender:
    cdef size_t rows                # a batch is full with so many
    cdef size_t text                # or before its strings would take more bytes than this
    cdef bint replace
    cdef walcore_batch *batch       # being filled; NULL: none
    cdef walcore_batch *head        # full ones, waiting to be taken
    cdef walcore_batch *tail
    cdef size_t count               # rows of the lot
    cdef readonly int64_t first_lsn
    cdef readonly int64_t last_lsn
    cdef int64_t[RECENT] recent

    cdef int add(self, const Mint *mint) noexcept nogil
    cdef int refuse(self, int problem, int64_t lsn) except -1
    cdef bint next_batch(self) noexcept nogil
    cdef void finish_batch(self) noexcept nogil
    cdef Py_ssize_t put(self, const Span *span, uint8_t *at) noexcept nogil
