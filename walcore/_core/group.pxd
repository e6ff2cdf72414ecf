"""Group commit; see group.pyx."""

from libc.stdint cimport int64_t

from walcore._core.lead cimport Loop
from walcore._core.steps cimport Steps
from walcore._core.waiters cimport DISK_FULL, Need, Outcome, Waiter


cdef class GroupCommit(Steps):
    cdef int wait(self, Need need, int64_t target, int64_t deadline, bint closes) except -1
    cdef bint may_lead(self, Need need, int64_t deadline) noexcept nogil
    cdef Outcome lead_for(self, Need need, bint syncs) except? DISK_FULL
    cdef Outcome queue_up(self, Need need, int64_t target, int64_t deadline) except? DISK_FULL
    cdef Waiter *take_waiter(self) noexcept nogil
    cdef int add_waiter(self) except -1
    cdef int refuse_leader(self) except -1
    cdef void give_up_loop(self, Loop loop) noexcept
    cdef int ready(self) except -1
    cdef int do_loop_work(self) except -1
    cdef int refuse_in_child(self) except -1
    cdef int refuse_unless_open(self) except -1
    cdef int refuse(self) except -1
    cdef object full_error(self)
