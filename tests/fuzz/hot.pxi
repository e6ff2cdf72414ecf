

# ---- Put behind decode.pyx for the fuzzer: the decoder with no Python between, some 100,000 inputs a second ----------

from libc.stdlib cimport abort, free, malloc
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy

from walcore._core.crc32c cimport walcore_crc32c_sse42, walcore_crc32c_supported, walcore_crc32c_table
from walcore._core.endian cimport put_u32_le
from walcore._core.jsonstring cimport ESCAPED, unescape

cdef Decoder _hot_decoder = Decoder(("I", "B", "L", "N"))
cdef bint _has_sse42 = walcore_crc32c_supported(b"sse4.2")


cdef inline void _holds(bint what) noexcept nogil:
    if not what:
        abort()


cdef void _hot_crc(const uint8_t* data, size_t size) noexcept nogil:
    """Every way to compute the checksum, in one piece and in two, comes to the same."""
    cdef uint32_t crc = walcore_crc32c_table(0, data, size)
    cdef size_t cut = size // 3
    _holds(walcore_crc32c(0, data, size) == crc)
    _holds(walcore_crc32c(walcore_crc32c_table(0, data, cut), data + cut, size - cut) == crc)
    if _has_sse42:
        _holds(walcore_crc32c_sse42(0, data, size) == crc)
        _holds(walcore_crc32c_sse42(walcore_crc32c_sse42(0, data, cut), data + cut, size - cut) == crc)


cdef void _hot_string(const Span* span, const uint8_t* start, const uint8_t* end) noexcept nogil:
    """It lies in its frame, ends at a quote, and what it stands for has the room that `string_of` gives it."""
    cdef uint8_t* room
    cdef Py_ssize_t size
    _holds(span.data > start and span.size >= 0 and span.data + span.size < end and span.data[span.size] == c'"')
    if span.flags & ESCAPED:
        room = <uint8_t*> malloc(<size_t> span.size)
        size = unescape(span.data, span.size, room)
        _holds(0 < size < span.size)
        free(room)


cdef void _hot_frames(const uint8_t* base, Py_ssize_t stop, bint records) noexcept:
    cdef Mint mint
    cdef int status
    cdef Py_ssize_t at
    cdef object record
    cdef int64_t frames = 0
    _hot_decoder.position = 0
    _hot_decoder.frames = _hot_decoder.first_lsn = _hot_decoder.last_lsn = 0
    _hot_decoder.min_lsn = _hot_decoder.max_lsn = _hot_decoder.highest_id = 0
    while True:
        at = _hot_decoder.position
        status = _hot_decoder._next(base, stop, &mint)
        if status == -1:
            frames += 1
            _holds(at + 12 < _hot_decoder.position <= stop and mint.lsn >= 1 and 0 <= mint.kind < 4)
            _holds(_hot_decoder.min_lsn <= mint.lsn <= _hot_decoder.max_lsn and _hot_decoder.last_lsn == mint.lsn)
            _hot_string(&mint.lexical, base + at, base + _hot_decoder.position)
            _hot_string(&mint.datatype, mint.lexical.data + mint.lexical.size, base + _hot_decoder.position)
            _hot_string(&mint.language, mint.datatype.data + mint.datatype.size, base + _hot_decoder.position)
            if records:
                record = _hot_decoder._record(&mint)
        elif status == _OTHER:
            frames += 1
            _holds(at + _hot_decoder.frame_size <= stop)
            _hot_decoder.skip()
        elif status == _MORE:
            break
        else:
            _hot_decoder.position += 1
    _holds(_hot_decoder.frames == frames)


cdef size_t _hot_framed(const uint8_t* lines, size_t size, uint8_t* out) noexcept nogil:
    """Each line with its length and checksum; without `out` only the size of it all."""
    cdef size_t i, length, total = 0, start = 0
    for i in range(size):
        if lines[i] == c"\n" or i == size - 1:
            length = i + 1 - start
            if out is not NULL:
                put_u32_le(out + total, <uint32_t> length)
                memcpy(out + total + 4, lines + start, length)
                put_u32_le(out + total + 4 + length, walcore_crc32c(0, lines + start, length))
            total += length + 8
            start = i + 1
    return total


cdef int _hot(const uint8_t* data, size_t size) noexcept:
    """An input's first byte: bit 0, the rest are lines that get their length and checksum; bit 1, Records are made."""
    cdef size_t total
    cdef uint8_t* framed
    if size < 2:
        return 0
    _hot_crc(data + 1, size - 1)
    if not data[0] & 1:
        _hot_frames(data + 1, <Py_ssize_t> size - 1, data[0] & 2)
        return 0
    total = _hot_framed(data + 1, size - 1, NULL)
    framed = <uint8_t*> malloc(total)       # of just this size: a byte read behind it is a finding
    _hot_framed(data + 1, size - 1, framed)
    _hot_frames(framed, <Py_ssize_t> total, data[0] & 2)
    free(framed)
    return 0


hot_address = <uintptr_t> &_hot
