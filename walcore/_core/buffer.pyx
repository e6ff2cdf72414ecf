"""The parts of a half's life that are not on the hot path."""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from walcore._core.crc32c cimport walcore_crc32c
from walcore._core.encode cimport FRAME_OVERHEAD, LENGTH_SIZE, MINT_FIXED, put_mint_head
from walcore._core.endian cimport get_u32_le, put_u32_le


cdef int half_init(Half *half, char *data, Py_ssize_t size) noexcept nogil:
    """Returns -1 if there is no memory."""
    memset(half, 0, sizeof(Half))
    half.data = data
    half.size = size
    # One start a frame at most, so that packing never has to look; what is not used takes no memory.
    half.starts = <SegmentStart *>malloc(<size_t>(size // (FRAME_OVERHEAD + MINT_FIXED) + 1) * sizeof(SegmentStart))
    return -1 if half.starts == NULL else 0


cdef void half_free(Half *half) noexcept nogil:
    free(half.large.body)
    free(half.starts)
    half.large.body = NULL
    half.starts = NULL


cdef void half_clear(Half *half) noexcept nogil:
    """Forgets the content: it is in the kernel's hands, or was purged."""
    free(half.large.body)
    half.large.body = NULL
    half.used = half.written = 0
    half.starts_used = half.starts_done = 0


cdef void half_takes_large(Half *half, int64_t lsn, char *body, Py_ssize_t body_size) noexcept nogil:
    """Makes a large frame the content of an empty half, which owns `body` from here."""
    cdef LargeFrame *large = &half.large
    cdef char *json = large.head + LENGTH_SIZE
    cdef char *end = put_mint_head(json, lsn)
    large.body = body
    large.body_size = body_size
    large.head_size = end - large.head
    put_u32_le(<unsigned char *>large.head, <unsigned int>(end - json + body_size))
    half.first_lsn = half.last_lsn = lsn


cdef void large_finish(LargeFrame *large) noexcept nogil:
    """Sets the CRC; left to the drain, since it takes long and the mutex is held when the LSN is taken."""
    cdef unsigned int crc = walcore_crc32c(0, large.head + LENGTH_SIZE, <size_t>(large.head_size - LENGTH_SIZE))
    crc = walcore_crc32c(crc, large.body, <size_t>large.body_size)
    put_u32_le(<unsigned char *>large.body + large.body_size, crc)


cdef Py_ssize_t half_whole_frames(const Half *half, Py_ssize_t limit, int64_t *last_lsn) noexcept nogil:
    """The end of the last frame that lies wholly below `limit`, and its LSN (first_lsn - 1 if there is none)."""
    cdef Py_ssize_t end = 0
    cdef Py_ssize_t size
    last_lsn[0] = half.first_lsn - 1
    if half.large.body != NULL:
        return 0
    while end < half.used:
        size = FRAME_OVERHEAD + <Py_ssize_t>get_u32_le(<unsigned char *>half.data + end)
        if end + size > limit:
            break
        end += size
        last_lsn[0] += 1
    return end
