"""Writing and syncing; see drain.pyx."""

from libc.stdint cimport int64_t

from walcore._core.buffer cimport Half
from walcore._core.lead cimport Call, Drained, Lead
from walcore._core.waiters cimport Waiter


cdef class Drain(Lead):
    cdef Drained write_and_sync(self, bint everything, bint sync) noexcept nogil
    cdef Waiter *note_stop(self, Drained drained) noexcept nogil
    cdef Drained write_half(self, Half *half, int64_t *reach) noexcept nogil
    cdef int write_some(self, Half *half, Py_ssize_t end) noexcept nogil
    cdef void allocate_ahead(self, int64_t end) noexcept nogil
    cdef Drained cut_to_whole_frames(self, Half *half, int64_t *reach, int error) noexcept nogil
    cdef Drained sync_file(self, int64_t reach) noexcept nogil
    cdef Drained break_down(self, Call call, int error) noexcept nogil
    cdef Drained fail(self, Call call, int error) noexcept nogil
    cdef ssize_t call_write(self, const char *data, Py_ssize_t size) noexcept nogil
    cdef int call_sync(self) noexcept nogil
    cdef int call_allocate(self, int64_t size) noexcept nogil
    cdef int call_truncate(self, int64_t size) noexcept nogil
    cdef int call_status(self) noexcept nogil
    cdef void call_writeback(self, int64_t begin) noexcept nogil
    cdef ssize_t replaced_write(self, const char *data, Py_ssize_t size) noexcept with gil
    cdef int replaced_call(self, Call call, int64_t size) noexcept with gil
