"""C view of `IdRun`, for the decoder, which fills it."""

cimport cython
from libc.stdint cimport int32_t, uint32_t, uint64_t


@cython.final
cdef class IdRun:
    cdef uint64_t *entries      # (id, ordered as unsigned) << 32 | block
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef bint short_of_memory
    cdef public uint32_t block
    cdef bint grow(self) noexcept nogil

    cdef inline void add(self, int32_t id) noexcept nogil:
        cdef uint64_t entry = (<uint64_t>(<uint32_t>id ^ 0x80000000U) << 32) | self.block
        if self.count > 0 and self.entries[self.count - 1] == entry:
            return
        if self.count < self.capacity or self.grow():
            self.entries[self.count] = entry
            self.count += 1
