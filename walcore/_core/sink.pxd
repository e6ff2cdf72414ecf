"""What the decoder gives records to that become no objects."""

from libc.stdint cimport int64_t

from walcore._core.minted cimport Mint


cdef enum:
    RECENT = 512        # LSNs of a lot that are kept


cdef class Sink:
    cdef size_t count               # records of the lot
    cdef readonly int64_t first_lsn
    cdef readonly int64_t last_lsn
    cdef int64_t[RECENT] recent

    cdef int add(self, const Mint *mint) noexcept nogil
    cdef int refuse(self, int problem, int64_t lsn) except -1


cdef class Tally(Sink):
    cdef int64_t[4] kinds
