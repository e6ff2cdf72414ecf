"""Waiting for an event loop; see notify.pyx."""

from libc.stdint cimport int64_t

from walcore._core.group cimport GroupCommit


cdef class Notify(GroupCommit):
    cdef object look(self, int64_t target, int64_t times_full, bint begun)
    cdef int64_t take_lsn(self, lsn) except -1
