"""Record batches being made; what the decoder appends to."""

from libc.stdint cimport uint8_t

from walcore._core.batch cimport walcore_batch
from walcore._core.jsonstring cimport Span
from walcore._core.sink cimport Sink


cdef class Appender(Sink):
    cdef size_t rows                # a batch is full with so many
    cdef size_t text                # or before its strings would take more bytes than this
    cdef bint replace
    cdef walcore_batch *batch       # being filled; NULL: none
    cdef walcore_batch *head        # full ones, waiting to be taken
    cdef walcore_batch *tail

    cdef bint next_batch(self) noexcept nogil
    cdef void finish_batch(self) noexcept nogil
    cdef Py_ssize_t put(self, const Span *span, uint8_t *at) noexcept nogil
