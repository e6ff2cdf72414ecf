"""One half of the writer's buffer: frames side by side in a preallocated bytearray, and where segments begin in it."""

from libc.stdint cimport int32_t, int64_t

from walcore._core.encode cimport MINT_HEAD_MAX, LENGTH_SIZE


cdef struct SegmentStart:       # the frame at `offset`, of LSN `lsn`, is the first of a new segment
    Py_ssize_t offset
    int64_t lsn
    int32_t first_id
    int32_t number


cdef struct LargeFrame:         # a frame that no half can hold: it fills one by being its only content
    char *body                  # JSON behind the LSN and room for the CRC, malloc'ed; NULL: there is none
    Py_ssize_t body_size        # without the CRC
    char[LENGTH_SIZE + MINT_HEAD_MAX] head      # the length and the JSON up to the LSN
    Py_ssize_t head_size


cdef struct Half:
    char *data                  # of a bytearray that the writer holds and never resizes
    Py_ssize_t size
    Py_ssize_t used             # bytes of whole frames
    Py_ssize_t written          # of these, what the kernel took; the drain's
    int64_t first_lsn           # of the first frame; the frames' LSNs are consecutive
    int64_t last_lsn
    LargeFrame large
    SegmentStart *starts        # in order; room for one a frame
    Py_ssize_t starts_used
    Py_ssize_t starts_done      # of these, how many segments were begun; the drain's


cdef inline bint half_empty(const Half *half) noexcept nogil:
    return half.used == 0 and half.large.body == NULL


cdef inline bint half_fits(const Half *half, Py_ssize_t size) noexcept nogil:
    return half.large.body == NULL and size <= half.size - half.used


cdef inline Py_ssize_t half_content(const Half *half) noexcept nogil:
    """Bytes that are to be written."""
    if half.large.body != NULL:
        return half.large.head_size + half.large.body_size + 4
    return half.used


cdef inline void half_starts_segment(Half *half, int64_t lsn, int32_t first_id, int32_t number) noexcept nogil:
    cdef SegmentStart *start = &half.starts[half.starts_used]
    start.offset = half.used
    start.lsn = lsn
    start.first_id = first_id
    start.number = number
    half.starts_used += 1


cdef inline void half_adds(Half *half, int64_t lsn, Py_ssize_t size) noexcept nogil:
    """Takes over a frame of `size` bytes that was packed at data + used."""
    if half_empty(half):
        half.first_lsn = lsn
    half.last_lsn = lsn
    half.used += size


cdef int half_init(Half *half, char *data, Py_ssize_t size) noexcept nogil
cdef void half_free(Half *half) noexcept nogil
cdef void half_clear(Half *half) noexcept nogil
cdef void half_takes_large(Half *half, int64_t lsn, char *body, Py_ssize_t body_size) noexcept nogil
cdef void large_finish(LargeFrame *large) noexcept nogil
cdef Py_ssize_t half_whole_frames(const Half *half, Py_ssize_t limit, int64_t *last_lsn) noexcept nogil
