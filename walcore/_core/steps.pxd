"""Segments and purges; see steps.pyx."""

from libc.stdint cimport int64_t

from walcore._core.drain cimport Drain
from walcore._core.lead cimport Call, Drained


cdef class Steps(Drain):
    cdef Drained drain(self, bint everything, bint sync, bint begins) noexcept
    cdef Drained serve(self, int what) noexcept
    cdef Drained stumble(self, Call call, object error) noexcept
    cdef Drained begin_segment(self) noexcept
    cdef Drained finish_segment(self, int64_t target) noexcept
    cdef void purge(self) noexcept
    cdef void fail_purge(self, object error) noexcept
    cdef void refuse_purge(self, int64_t upto, object error) noexcept
    cdef void tell_synced(self) noexcept
