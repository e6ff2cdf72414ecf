"""JSON strings in bytes: measured and checked where they lie, then made into str; inlined into the decoder."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from walcore._core.endian cimport get_u64_le


cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)
    object PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)

cdef extern from *:
    int lowest_bit "__builtin_ctzll"(unsigned long long word) noexcept nogil


cdef enum:
    HIGH = 1          # holds bytes above 0x7F, checked to be strict UTF-8
    ESCAPED = 2       # holds escapes, checked to be valid


# A string as it lies in the buffer, without its quotes.
cdef struct Span:
    const uint8_t* data
    Py_ssize_t size
    int flags                        # 0: plain ASCII, can be copied as it is


cdef inline bint is_hex(uint8_t c) noexcept nogil:
    return 48 <= c <= 57 or 65 <= c <= 70 or 97 <= c <= 102


cdef inline uint32_t hex4(const uint8_t* p) noexcept nogil:
    cdef uint32_t value = 0
    cdef int i
    for i in range(4):
        value = value << 4 | <uint32_t> ((p[i] & 15) + (9 if p[i] > 57 else 0))
    return value


cdef inline int utf8_size(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Bytes of the character above 0x7F at p; 0 if it isn't strict UTF-8 (too long a form, surrogate, cut off)."""
    cdef uint8_t c = p[0]
    cdef uint8_t low = 0x80
    cdef uint8_t high = 0xBF
    cdef int size, i
    if c < 0xC2 or c > 0xF4:
        return 0
    size = 2 if c < 0xE0 else 3 if c < 0xF0 else 4
    if end - p < size:
        return 0
    if c == 0xE0:
        low = 0xA0
    elif c == 0xED:
        high = 0x9F
    elif c == 0xF0:
        low = 0x90
    elif c == 0xF4:
        high = 0x8F
    if p[1] < low or p[1] > high:
        return 0
    for i in range(2, size):
        if p[i] & 0xC0 != 0x80:
            return 0
    return size


cdef inline int escape_size(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Bytes of the escape at p, which is a backslash; 0 if JSON has no such escape."""
    if end - p < 2:
        return 0
    if p[1] == c"u":
        if end - p >= 6 and is_hex(p[2]) and is_hex(p[3]) and is_hex(p[4]) and is_hex(p[5]):
            return 6
        return 0
    if p[1] in (c'"', c"\\", c"/", c"b", c"f", c"n", c"r", c"t"):
        return 2
    return 0


cdef inline uint64_t specials(uint64_t word) noexcept nogil:
    """Flags the bytes that are a quote, a backslash, below 0x20 or above 0x7F; the lowest flag is right, 0: none is.

    Those above it may be wrong: a subtraction borrows from them.
    """
    cdef uint64_t ones = 0x0101010101010101ULL
    cdef uint64_t tops = 0x8080808080808080ULL
    cdef uint64_t quote = word ^ (ones * 0x22)
    cdef uint64_t slash = word ^ (ones * 0x5C)
    return ((word - ones * 0x20) | (quote - ones) | (slash - ones) | word) & tops


cdef inline const uint8_t* scan_string(const uint8_t* p, const uint8_t* end, Span* span) noexcept nogil:
    """Measure the string that begins at p; return what is behind its closing quote, NULL if it isn't valid."""
    cdef uint64_t found
    cdef int size
    span.data = p
    span.flags = 0
    while True:
        while end - p >= 8:
            found = specials(get_u64_le(p))
            if found:
                p += lowest_bit(found) >> 3
                break
            p += 8
        if p >= end:
            return NULL
        if p[0] == c'"':
            span.size = p - span.data
            return p + 1
        if p[0] >= 0x80:
            size = utf8_size(p, end)
            span.flags |= HIGH
        elif p[0] == c"\\":
            size = escape_size(p, end)
            span.flags |= ESCAPED
        else:
            size = p[0] >= 0x20
        if size == 0:
            return NULL
        p += size


cdef inline Py_ssize_t unescape(const uint8_t* p, Py_ssize_t size, uint8_t* out) noexcept nogil:
    """Write the string as UTF-8 (lone surrogates as three bytes); never longer than its escaped form."""
    cdef const uint8_t* end = p + size
    cdef uint8_t* start = out
    cdef uint32_t code, low
    cdef uint8_t c
    while p < end:
        c = p[0]
        if c != c"\\":
            out[0] = c
            out += 1
            p += 1
            continue
        c = p[1]
        p += 2
        if c != c"u":
            out[0] = (
                8 if c == c"b" else 9 if c == c"t" else 10 if c == c"n" else 12 if c == c"f" else 13 if c == c"r" else c
            )
            out += 1
            continue
        code = hex4(p)
        p += 4
        if 0xD800 <= code < 0xDC00 and end - p >= 6 and p[0] == c"\\" and p[1] == c"u":
            low = hex4(p + 2)
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                p += 6
        if code < 0x80:
            out[0] = <uint8_t> code
            out += 1
        elif code < 0x800:
            out[0] = <uint8_t> (0xC0 | code >> 6)
            out[1] = <uint8_t> (0x80 | code & 0x3F)
            out += 2
        elif code < 0x10000:
            out[0] = <uint8_t> (0xE0 | code >> 12)
            out[1] = <uint8_t> (0x80 | code >> 6 & 0x3F)
            out[2] = <uint8_t> (0x80 | code & 0x3F)
            out += 3
        else:
            out[0] = <uint8_t> (0xF0 | code >> 18)
            out[1] = <uint8_t> (0x80 | code >> 12 & 0x3F)
            out[2] = <uint8_t> (0x80 | code >> 6 & 0x3F)
            out[3] = <uint8_t> (0x80 | code & 0x3F)
            out += 4
    return out - start


cdef inline object string_of(const Span* span):
    cdef uint8_t* buffer
    cdef Py_ssize_t size
    if span.size == 0:
        return ""
    if span.flags == 0:
        text = PyUnicode_New(span.size, 127)
        memcpy(PyUnicode_DATA(text), span.data, <size_t> span.size)
        return text
    if not span.flags & ESCAPED:
        return PyUnicode_DecodeUTF8(<const char*> span.data, span.size, NULL)
    buffer = <uint8_t*> PyMem_Malloc(<size_t> span.size)
    if buffer is NULL:
        raise MemoryError()
    try:
        size = unescape(span.data, span.size, buffer)
        return PyUnicode_DecodeUTF8(<const char*> buffer, size, "surrogatepass")
    finally:
        PyMem_Free(buffer)
