"""Frames as bytes; what the writer packs with, and the few frames that the control plane builds itself."""


from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsLongLongAndOverflow

from operator import index as to_index

from walcore.errors import InvalidRecordError, RecordTooLargeError
from walcore._core.crc32c cimport walcore_crc32c_backend
from walcore._core.jsonstring cimport utf8_size


cdef extern from *:
    """
    /* The letter behind the backslash of a short escape; 0 where there is none. */
    static const char WALCORE_SHORT_ESCAPE[128] = {
        [8] = 'b', [9] = 't', [10] = 'n', [12] = 'f', [13] = 'r', [34] = '"', [92] = '\\\\'};
    static const char WALCORE_HEX[] = "0123456789ABCDEF";
    """
    const char[128] WALCORE_SHORT_ESCAPE
    const char[17] WALCORE_HEX


cdef Py_ssize_t code_point_size(uint32_t code) noexcept nogil:
    """Bytes of one code point in a JSON string as the original writes it."""
    if code < 0x80:
        return WALCORE_ASCII_WIDTH[code]
    if code < 0x800:
        return 2
    if code < 0x10000:
        return 6 if 0xD800 <= code <= 0xDFFF else 3     # a lone surrogate as its escape
    return 12                                           # an escaped surrogate pair


cdef inline uint32_t code_point(const Text *text, Py_ssize_t i) noexcept nogil:
    if text.unit == 1:
        return (<const unsigned char *>text.data)[i]
    if text.unit == 2:
        return (<const unsigned short *>text.data)[i]
    return (<const uint32_t *>text.data)[i]


cdef Py_ssize_t escaped_size(const Text *text) noexcept nogil:
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t i
    for i in range(text.length):
        size += code_point_size(code_point(text, i))
    return size


cdef bint measure_odd_utf8(Text *text) noexcept nogil:
    """measure_utf8 for what isn't plain ASCII."""
    cdef const unsigned char *at = <const unsigned char *>text.data
    cdef const unsigned char *end = at + text.length
    cdef Py_ssize_t escaped = 0
    cdef int size, width
    text.plain = True
    while at < end:
        size = 1 if at[0] < 0x80 else utf8_size(at, end)
        if size == 0:
            return False
        width = WALCORE_ASCII_WIDTH[at[0]] if size == 1 else 12 if size == 4 else size
        if width != size:
            text.plain = False
        escaped += width
        at += size
    text.escaped = <uint32_t>min(escaped, <Py_ssize_t>MAX_JSON_BYTES + 1)
    return True


cdef char *put_unicode_escape(char *at, uint32_t unit) noexcept nogil:
    at[0] = c"\\"
    at[1] = c"u"
    at[2] = WALCORE_HEX[(unit >> 12) & 0xF]
    at[3] = WALCORE_HEX[(unit >> 8) & 0xF]
    at[4] = WALCORE_HEX[(unit >> 4) & 0xF]
    at[5] = WALCORE_HEX[unit & 0xF]
    return at + 6


cdef inline char *put_ascii(char *at, uint32_t code) noexcept nogil:
    if WALCORE_ASCII_WIDTH[code] == 1:
        at[0] = <char>code
        return at + 1
    if WALCORE_ASCII_WIDTH[code] == 2:
        at[0] = c"\\"
        at[1] = WALCORE_SHORT_ESCAPE[code]
        return at + 2
    return put_unicode_escape(at, code)


cdef char *put_code_point(char *at, uint32_t code) noexcept nogil:
    if code < 0x80:
        return put_ascii(at, code)
    if code < 0x800:
        at[0] = <char>(0xC0 | (code >> 6))
        at[1] = <char>(0x80 | (code & 0x3F))
        return at + 2
    if code >= 0x10000:
        code -= 0x10000
        return put_unicode_escape(put_unicode_escape(at, 0xD800 + (code >> 10)), 0xDC00 + (code & 0x3FF))
    if 0xD800 <= code <= 0xDFFF:
        return put_unicode_escape(at, code)
    at[0] = <char>(0xE0 | (code >> 12))
    at[1] = <char>(0x80 | ((code >> 6) & 0x3F))
    at[2] = <char>(0x80 | (code & 0x3F))
    return at + 3


cdef char *put_escaped_utf8(char *at, const Text *text) noexcept nogil:
    cdef const unsigned char *data = <const unsigned char *>text.data
    cdef const unsigned char *end = data + text.length
    cdef char *limit = at + text.escaped    # reached by nothing but an array that its owner changes meanwhile
    while data < end:
        if data[0] < 0x80:
            if limit - at < WALCORE_ASCII_WIDTH[data[0]]:
                break
            at = put_ascii(at, data[0])
            data += 1
        elif data[0] < 0xF0 or end - data < 4:
            if at == limit:
                break
            at[0] = <char>data[0]           # and so are the bytes behind it
            at += 1
            data += 1
        else:
            if limit - at < 12:
                break
            at = put_code_point(at, <uint32_t>(data[0] & 0x07) << 18 | <uint32_t>(data[1] & 0x3F) << 12
                                | <uint32_t>(data[2] & 0x3F) << 6 | <uint32_t>(data[3] & 0x3F))
            data += 4
    return at


cdef char *put_escaped(char *at, const Text *text) noexcept nogil:
    cdef Py_ssize_t i
    if text.unit == 0:
        return put_escaped_utf8(at, text)
    for i in range(text.length):
        at = put_code_point(at, code_point(text, i))
    return at


# --- taking a caller's arguments -------------------------------------------------------------------------------------

cdef int take_odd_int32(object value, str field, int32_t *result) except -1:
    cdef int overflow = 0
    cdef long long number
    if isinstance(value, bool):
        raise TypeError(f"{field} must be an int, not bool")
    if not isinstance(value, int):
        try:
            value = to_index(value)
        except TypeError:
            raise TypeError(f"{field} must be an int, not {type(value).__name__}") from None
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or not -2147483648 <= number <= 2147483647:
        if overflow:  # Python refuses to print thousands of digits
            value = f"an int of {value.bit_length()} bits"
        raise InvalidRecordError(f"{field} must fit in 32 bits, signed (-2147483648 to 2147483647), got {value}",
                                 field=field)
    result[0] = <int32_t>number
    return 0


cdef int take_kind(object value, char *result) except -1:
    cdef unsigned char letter = 0
    if not isinstance(value, str):
        raise TypeError(f"kind must be a ValueKind or one of the letters I, B, L, N, not {type(value).__name__}")
    if PyUnicode_GET_LENGTH(value) == 1 and PyUnicode_KIND(value) == 1:
        letter = (<const unsigned char *>PyUnicode_DATA(value))[0]
    if letter != c"I" and letter != c"B" and letter != c"L" and letter != c"N":
        raise InvalidRecordError(f"kind must be a ValueKind or one of the letters I, B, L, N, got {str(value)!r}",
                                 field="kind")
    result[0] = <char>letter
    return 0


cdef int refuse_text(object value, str field) except -1:
    raise TypeError(f"{field} must be a str, not {type(value).__name__}")


cdef int take_mint(object id, object kind, object lexical, object datatype, object language, object hash,
                   Mint *mint) except -1:
    """Checks and measures one record; the three strings must outlive `mint`."""
    take_int32(id, "id", &mint.id)
    take_kind(kind, &mint.kind)
    take_int32(hash, "hash", &mint.hash)
    if not isinstance(lexical, str):
        refuse_text(lexical, "lexical")
    if not isinstance(datatype, str):
        refuse_text(datatype, "datatype")
    if not isinstance(language, str):
        refuse_text(language, "language")
    measure(lexical, &mint.lexical)
    measure(datatype, &mint.datatype)
    measure(language, &mint.language)
    if mint.kind != c"L" and (mint.datatype.length or mint.language.length):
        field = "datatype" if mint.datatype.length else "language"
        raise InvalidRecordError(f"{field} belongs to a literal only, this record's kind is {chr(mint.kind)}",
                                 field=field)
    if MINT_FIXED + 3 * INT_DIGITS_MAX + mint_text_size(mint) > MAX_JSON_BYTES:
        raise RecordTooLargeError(
            f"a frame holds at most {MAX_JSON_BYTES} bytes of JSON, this record's text takes {mint_text_size(mint)}",
            field="lexical")
    return 0


# --- for the control plane and for tests -----------------------------------------------------------------------------

def mint_frame(lsn, id, kind, lexical, datatype="", language="", hash=0):
    """The frame of one minted value, as bytes."""
    cdef Mint mint
    cdef int64_t number = lsn
    take_mint(id, kind, lexical, datatype, language, hash, &mint)
    frame = PyBytes_FromStringAndSize(NULL, FRAME_OVERHEAD + mint_json_size(&mint, number))
    put_mint_frame(PyBytes_AS_STRING(frame), number, &mint)
    return frame


cdef bytes framed(list parts):
    """The frame around the JSON that `parts` make when joined."""
    cdef bytes json = b"".join(parts)
    cdef Py_ssize_t size = len(json)
    frame = PyBytes_FromStringAndSize(NULL, FRAME_OVERHEAD + size)
    cdef char *start = PyBytes_AS_STRING(frame)
    finish_frame(start, put_bytes(start + LENGTH_SIZE, PyBytes_AS_STRING(json), <size_t>size))
    return frame


cdef bytes quoted(str string):
    cdef Text text
    measure(string, &text)
    result = PyBytes_FromStringAndSize(NULL, text.escaped + 2)
    cdef char *at = PyBytes_AS_STRING(result)
    at[0] = c'"'
    at = put_text(at + 1, &text)
    at[0] = c'"'
    return result


def header_frame(str store not None, created, number, first_id):
    """The first frame of a segment, as bytes; `created` is in seconds since 1970."""
    return framed([b'{"t":"V","ver":1,"store":', quoted(store), b',"engine":"valuestore","created":%d' % created,
                   b',"segment":%d,"firstId":%d}\n' % (number, first_id)])


def summary_frame(last_id, crc32):
    """The last frame of a sealed segment, as bytes: its greatest id (0 if none is above 0) and the zlib CRC-32 of all
    bytes before it."""
    return framed([b'{"t":"S","lastId":%d,"crc32":%d}\n' % (last_id, crc32)])


def crc32c(data, uint32_t crc=0):
    """CRC-32C of a bytes-like object; `crc` chains, as in zlib.crc32."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            crc = walcore_crc32c(crc, view.buf, <size_t>view.len)
    finally:
        PyBuffer_Release(&view)
    return crc


def crc32c_backend():
    """Which instructions compute CRC-32C here: "sse4.2", "armv8" or "table"."""
    return walcore_crc32c_backend().decode("ascii")
