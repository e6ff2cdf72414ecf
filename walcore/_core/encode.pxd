"""Python values in, the bytes of a frame out; inlined into the writer.

A frame, and the JSON of a minted value, byte for byte as Jackson writes it (docs/format.md):

    u32 LE length | {"t":"M","lsn":L,"id":ID,"vk":"K","lex":S,"dt":S,"lang":S,"hash":H}\\n | u32 LE CRC-32C
                  |<------------------------------ length --------------------------->|

Measure first (with the GIL: that is where a str may be refused), reserve what was measured, then fill without asking.
"""

from cpython.long cimport PyLong_CheckExact
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from walcore._core.crc32c cimport walcore_crc32c
from walcore._core.endian cimport put_u32_le


cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_ASCII(object text)


cdef enum:
    LENGTH_SIZE = 4
    CRC_SIZE = 4
    FRAME_OVERHEAD = LENGTH_SIZE + CRC_SIZE
    MAX_JSON_BYTES = 512 * 1024 * 1024
    # {"t":"M","lsn": + ,"id": + ,"vk":"K","lex":" + ","dt":" + ","lang":" + ","hash": + }\n
    MINT_FIXED = 15 + 6 + 17 + 8 + 10 + 9 + 2
    MINT_HEAD_MAX = 15 + 20     # up to and with the LSN: what is packed once the LSN is known
    INT_DIGITS_MAX = 20


cdef struct Text:               # a str, or UTF-8, measured
    const void *data
    uint32_t length             # code points; of UTF-8 bytes
    uint32_t escaped            # bytes between the quotes; above MAX_JSON_BYTES: too many to write
    unsigned char unit          # bytes a code point takes in memory: 1, 2 or 4; 0: UTF-8
    unsigned char plain         # nothing to escape, and UTF-8 as it is: can be copied


cdef struct Mint:               # a minted value, measured; its LSN is not known yet
    int32_t id
    int32_t hash
    char kind
    Text lexical
    Text datatype
    Text language


cdef extern from *:
    """
    /* How many bytes a code point below 0x80 takes in a JSON string: itself, \\n and its like, or \\u00XX. */
    static const unsigned char WALCORE_ASCII_WIDTH[128] = {
        6, 6, 6, 6, 6, 6, 6, 6, 2, 2, 2, 6, 2, 2, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
        1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const char WALCORE_PAIRS[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
        "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    /* The value of an int of few digits, without a call; false for any other. */
    static inline int walcore_short_int(PyObject *object, long long *value) {
    #if PY_VERSION_HEX >= 0x030C0000
        if (!PyUnstable_Long_IsCompact((PyLongObject *)object))
            return 0;
        *value = PyUnstable_Long_CompactValue((PyLongObject *)object);
    #else
        const digit *digits = ((PyLongObject *)object)->ob_digit;
        Py_ssize_t size = Py_SIZE(object);
        if (size > 2 || size < -2)
            return 0;
        *value = size == 0 ? 0 : digits[0];
        if (size == 2 || size == -2)
            *value |= (long long)digits[1] << PyLong_SHIFT;
        if (size < 0)
            *value = -*value;
    #endif
        return 1;
    }
    static const uint64_t WALCORE_ONES = 0x0101010101010101U;
    static const uint64_t WALCORE_HIGHS = 0x8080808080808080U;
    """
    bint walcore_short_int(object value, long long *result) noexcept
    const unsigned char[128] WALCORE_ASCII_WIDTH
    const char[201] WALCORE_PAIRS
    const uint64_t WALCORE_ONES
    const uint64_t WALCORE_HIGHS


# --- measuring ------------------------------------------------------------------------------------------------------

cdef inline bint needs_escape(uint64_t eight) noexcept nogil:
    """Whether one of eight ASCII bytes is a control character, a quote or a backslash."""
    cdef uint64_t quote = eight ^ (WALCORE_ONES * 0x22U)
    cdef uint64_t backslash = eight ^ (WALCORE_ONES * 0x5CU)
    return (((eight - WALCORE_ONES * 0x20U) | (quote - WALCORE_ONES) | (backslash - WALCORE_ONES)) & WALCORE_HIGHS) != 0


cdef inline bint is_plain(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """Whether ASCII text can be copied as it is."""
    cdef Py_ssize_t i = 0
    cdef uint64_t eight
    if size < 8:
        while i < size:
            if WALCORE_ASCII_WIDTH[data[i]] != 1:
                return False
            i += 1
        return True
    while i + 8 < size:
        memcpy(&eight, data + i, 8)
        if needs_escape(eight):
            return False
        i += 8
    memcpy(&eight, data + size - 8, 8)      # the last eight, some of them for the second time
    return not needs_escape(eight)


cdef Py_ssize_t escaped_size(const Text *text) noexcept nogil


cdef inline void measure(object string, Text *text) noexcept:
    """Fills `text` from a str, which must outlive it."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(string)
    text.data = PyUnicode_DATA(string)
    text.unit = <unsigned char>PyUnicode_KIND(string)
    text.plain = False
    text.length = <uint32_t>length
    if length > MAX_JSON_BYTES:
        text.escaped = MAX_JSON_BYTES + 1
    elif PyUnicode_IS_ASCII(string) and is_plain(<const unsigned char *>text.data, length):
        text.plain = True
        text.escaped = text.length
    else:
        text.escaped = <uint32_t>min(escaped_size(text), <Py_ssize_t>MAX_JSON_BYTES + 1)


cdef bint measure_odd_utf8(Text *text) noexcept nogil


cdef inline bint measure_utf8(const unsigned char *data, Py_ssize_t size, Text *text) noexcept nogil:
    """Fills `text` from bytes, which must outlive it; False if they aren't strict UTF-8."""
    cdef Py_ssize_t i = 0
    cdef uint64_t eight, all = 0
    cdef bint odd = False
    text.data = data if data != NULL else <const unsigned char *>WALCORE_PAIRS      # an empty one may be nowhere
    text.unit = 0
    text.length = text.escaped = <uint32_t>min(size, <Py_ssize_t>MAX_JSON_BYTES + 1)
    text.plain = True
    while i + 8 <= size:
        memcpy(&eight, data + i, 8)
        all |= eight
        odd |= needs_escape(eight)
        i += 8
    if i < size and size >= 8:                  # the last eight, some of them for the second time
        memcpy(&eight, data + size - 8, 8)
        all |= eight
        odd |= needs_escape(eight)
        i = size
    while i < size:
        all |= data[i]
        odd |= WALCORE_ASCII_WIDTH[data[i] & 0x7F] != 1
        i += 1
    if not odd and not all & WALCORE_HIGHS or size > MAX_JSON_BYTES:
        return True
    return measure_odd_utf8(text)


cdef inline int digits(uint64_t value) noexcept nogil:
    cdef int count = 1
    while value >= 10000:
        value //= 10000
        count += 4
    return count + (value >= 10) + (value >= 100) + (value >= 1000)


cdef inline int int_size(int64_t value) noexcept nogil:
    """Bytes that a number takes in decimal, its sign included."""
    return digits(<uint64_t>value) if value >= 0 else 1 + digits(-<uint64_t>value)


cdef inline Py_ssize_t mint_text_size(const Mint *mint) noexcept nogil:
    return <Py_ssize_t>mint.lexical.escaped + mint.datatype.escaped + mint.language.escaped


cdef inline Py_ssize_t mint_json_size(const Mint *mint, int64_t lsn) noexcept nogil:
    return MINT_FIXED + int_size(lsn) + int_size(mint.id) + int_size(mint.hash) + mint_text_size(mint)


# --- filling --------------------------------------------------------------------------------------------------------

cdef inline char *put_bytes(char *at, const char *data, size_t size) noexcept nogil:
    memcpy(at, data, size)
    return at + size


cdef inline char *put_int(char *at, int64_t value) noexcept nogil:
    cdef uint64_t rest = <uint64_t>value
    cdef char *end
    cdef char *pair
    if value < 0:
        at[0] = c"-"
        at += 1
        rest = -rest
    end = at + digits(rest)
    pair = end
    while rest >= 100:
        pair -= 2
        memcpy(pair, WALCORE_PAIRS + 2 * (rest % 100), 2)
        rest //= 100
    if rest >= 10:
        memcpy(at, WALCORE_PAIRS + 2 * rest, 2)
    else:
        at[0] = <char>(c"0" + <char>rest)
    return end


cdef char *put_escaped(char *at, const Text *text) noexcept nogil


cdef inline char *put_text(char *at, const Text *text) noexcept nogil:
    if text.plain:
        return put_bytes(at, <const char *>text.data, <size_t>text.length)
    return put_escaped(at, text)


cdef inline char *put_mint_head(char *at, int64_t lsn) noexcept nogil:
    """The part of a mint's JSON that waits for the LSN; at most MINT_HEAD_MAX bytes."""
    return put_int(put_bytes(at, b'{"t":"M","lsn":', 15), lsn)


cdef inline char *put_mint_body(char *at, const Mint *mint) noexcept nogil:
    """All of a mint's JSON that stands behind the LSN."""
    at = put_int(put_bytes(at, b',"id":', 6), mint.id)
    at = put_bytes(at, b',"vk":"', 7)
    at[0] = mint.kind
    at = put_text(put_bytes(at + 1, b'","lex":"', 9), &mint.lexical)
    at = put_text(put_bytes(at, b'","dt":"', 8), &mint.datatype)
    at = put_text(put_bytes(at, b'","lang":"', 10), &mint.language)
    at = put_int(put_bytes(at, b'","hash":', 9), mint.hash)
    return put_bytes(at, b"}\n", 2)


cdef inline char *finish_frame(char *frame, char *end) noexcept nogil:
    """Adds length and CRC to the JSON that stands from `frame` + LENGTH_SIZE to `end`; returns the frame's end."""
    cdef char *json = frame + LENGTH_SIZE
    cdef uint32_t size = <uint32_t>(end - json)
    put_u32_le(<unsigned char *>frame, size)
    put_u32_le(<unsigned char *>end, walcore_crc32c(0, json, size))
    return end + CRC_SIZE


cdef inline char *put_mint_frame(char *frame, int64_t lsn, const Mint *mint) noexcept nogil:
    """A whole frame: FRAME_OVERHEAD + mint_json_size bytes; returns its end."""
    return finish_frame(frame, put_mint_body(put_mint_head(frame + LENGTH_SIZE, lsn), mint))


# --- taking a caller's arguments -------------------------------------------------------------------------------------

cdef int take_odd_int32(object value, str field, int32_t *result) except -1


cdef inline int take_int32(object value, str field, int32_t *result) except -1:
    cdef long long number
    if PyLong_CheckExact(value) and walcore_short_int(value, &number) and -2147483648 <= number <= 2147483647:
        result[0] = <int32_t>number
        return 0
    return take_odd_int32(value, field, result)


cdef int take_kind(object value, char *result) except -1
cdef int take_mint(object id, object kind, object lexical, object datatype, object language, object hash,
                   Mint *mint) except -1
