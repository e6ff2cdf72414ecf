"""Bytes in, records out: frames in canonical form become `Record`s without a detour through a JSON parser.

Canonical is the exact key order of the format without spaces; the strings may hold any valid JSON escape.  Whatever
else has a checksum that holds is handed back as OTHER, and `walcore.frames` has a JSON parser judge it.  No length that
a file claims makes anything here allocate: a frame that isn't wholly in the buffer is only measured.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.list cimport PyList_Append
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_INCREF
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from walcore._core.crc32c cimport walcore_crc32c
from walcore._core.endian cimport get_u32_le
from walcore._core.ids cimport IdRun
from walcore._core.jsonstring cimport Span, scan_string, string_of
from walcore._core.minted cimport Mint
from walcore._core.record cimport Record, integer
from walcore._core.sink cimport Sink

from walcore.format import MAX_JSON_BYTES as _MAX_JSON_BYTES

cdef extern from "Python.h":
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef uint32_t MAX_JSON = _MAX_JSON_BYTES
cdef const uint8_t* LETTERS = <const uint8_t*> b"IBLN"

# What `Decoder.decode` stopped at; MORE: the buffer ends before the frame does.
cdef enum:
    _MORE = 0
    _BAD_LENGTH = 1
    _BAD_CRC = 2
    _OTHER = 3

MORE = _MORE
BAD_LENGTH = _BAD_LENGTH
BAD_CRC = _BAD_CRC
OTHER = _OTHER

cdef enum:
    SLOTS = 32        # of the cache of datatypes and languages
    MINTS = 512       # taken apart in one go before their Records are made: other threads run as long


cdef inline const uint8_t* _scan_int(
    const uint8_t* p, const uint8_t* end, int64_t low, int64_t high, int64_t* value
) noexcept nogil:
    """Read a plain integer; return what is behind it, NULL if there is none, it is out of range or has a leading 0."""
    cdef bint negative = p < end and p[0] == c"-"
    cdef uint64_t limit = <uint64_t> high if not negative else 0 - <uint64_t> low
    cdef uint64_t number = 0
    cdef uint32_t digit
    cdef const uint8_t* first
    p += negative
    first = p
    while p < end:
        digit = <uint32_t> p[0] - 48                # what is below "0" is far above 9 then
        if digit > 9:
            break
        number = number * 10 + digit                # 19 digits fit 64 bits, and no limit has 20
        p += 1
    if p == first or p - first > 19 or (p - first > 1 and first[0] == 48) or number > limit:
        return NULL
    value[0] = <int64_t> (0 - number if negative else number)
    return p


cdef inline const uint8_t* _skip(
    const uint8_t* p, const uint8_t* end, const char* text, Py_ssize_t size
) noexcept nogil:
    if p is NULL or end - p < size or memcmp(p, text, <size_t> size) != 0:
        return NULL
    return p + size


cdef bint _parse_mint(const uint8_t* p, const uint8_t* end, Mint* mint) noexcept nogil:
    """Take a canonical mint frame's JSON apart; False if it is anything else, valid or not."""
    cdef int64_t number = 0
    p = _skip(p, end, b'{"t":"M","lsn":', 15)
    if p is NULL:
        return False
    p = _scan_int(p, end, 1, INT64_MAX, &mint.lsn)
    if p is NULL or mint.lsn < 1:
        return False
    p = _skip(p, end, b',"id":', 6)
    if p is NULL:
        return False
    p = _scan_int(p, end, INT32_MIN, INT32_MAX, &number)
    mint.id = <int32_t> number
    p = _skip(p, end, b',"vk":"', 7)
    if p is NULL or p == end:
        return False
    mint.kind = 0
    while mint.kind < 4 and LETTERS[mint.kind] != p[0]:
        mint.kind += 1
    if mint.kind == 4:
        return False
    p = _skip(p + 1, end, b'","lex":"', 9)
    if p is NULL:
        return False
    p = _skip(scan_string(p, end, &mint.lexical), end, b',"dt":"', 7)
    if p is NULL:
        return False
    p = _skip(scan_string(p, end, &mint.datatype), end, b',"lang":"', 9)
    if p is NULL:
        return False
    p = _skip(scan_string(p, end, &mint.language), end, b',"hash":', 8)
    if p is NULL:
        return False
    p = _scan_int(p, end, INT32_MIN, INT32_MAX, &number)
    mint.hash = <int32_t> number
    p = _skip(p, end, b"}\n", 2)
    return p is not NULL and p == end


@cython.final
cdef class Decoder:
    """Decoder(kinds=None, wanted=None, ids=None)

    Decodes the frames of one segment, buffer after buffer.  `kinds` are the objects that stand for I, B, L and N in
    the Records made; without it frames are only checked and counted.  With `wanted`, Records are made for that id
    alone.  `ids`, an IdRun, is given the id of every record.  Only the making of Records holds the GIL.

    After a call of `decode`, `position` is where it stopped, and `frame_size` the bytes of the frame there (8 + JSON)
    as its length field claims, 0 if that isn't in the buffer.  `first_lsn`, `last_lsn`, `min_lsn`, `max_lsn` (0: none
    yet), `highest_id` (0 if none is above) and `frames` add up over all calls.  Not for several threads at a time.
    """

    cdef readonly Py_ssize_t position
    cdef readonly Py_ssize_t frame_size
    cdef readonly int64_t first_lsn
    cdef readonly int64_t last_lsn
    cdef readonly int64_t min_lsn
    cdef readonly int64_t max_lsn
    cdef readonly int32_t highest_id
    cdef readonly int64_t frames
    cdef tuple kinds
    cdef bint making
    cdef bint filtered
    cdef int32_t wanted
    cdef IdRun ids
    cdef PyObject* slots[SLOTS]
    cdef Mint mints[MINTS]

    def __cinit__(self, kinds=None, wanted=None, IdRun ids=None):
        self.ids = ids
        self.kinds = None if kinds is None else tuple(kinds)
        if self.kinds is not None and len(self.kinds) != 4:
            raise ValueError("kinds must be the four that stand for I, B, L and N")
        self.making = self.kinds is not None
        self.filtered = wanted is not None
        self.wanted = <int32_t> integer(wanted, "wanted", INT32_MIN, INT32_MAX) if self.filtered else 0

    def __dealloc__(self):
        for i in range(SLOTS):
            Py_XDECREF(self.slots[i])

    def decode(self, data, Py_ssize_t start, Py_ssize_t stop, out not None):
        """Decode data[start:stop] (any buffer of bytes), appending to `out`, up to something that needs the caller.

        `out` is a list, for Records, or a Sink, which takes every record, with the GIL released.

        Returns MORE (the buffer ends inside the frame at `position`, or exactly there), BAD_LENGTH (0 or above the
        limit), BAD_CRC, or OTHER: a frame whose checksum holds that isn't a canonical mint.

        Raises:
            InvalidRecordError: the Sink can't take a record; `position` is behind it.
        """
        cdef Py_buffer view
        cdef const uint8_t* base
        cdef Py_ssize_t taken = 0
        cdef int status = -1
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= start <= stop <= view.len:
                raise ValueError(f"start {start} and stop {stop} must lie within {view.len} bytes")
            base = <const uint8_t*> view.buf
            self.position = start
            if isinstance(out, Sink):
                return self._give(base, stop, <Sink> out)
            if type(out) is not list:
                raise TypeError(f"out must be a list or a Sink, not {type(out).__name__}")
            while status < 0:
                taken = 0
                with nogil:
                    while taken < MINTS:
                        status = self._next(base, stop, &self.mints[taken])
                        if status >= 0:
                            break
                        if self.making and (not self.filtered or self.mints[taken].id == self.wanted):
                            taken += 1
                for i in range(taken):
                    PyList_Append(out, self._record(&self.mints[i]))
            return status
        finally:
            PyBuffer_Release(&view)

    cdef int _give(self, const uint8_t* base, Py_ssize_t stop, Sink out) except -1:
        """`decode` to a Sink."""
        cdef Mint mint
        cdef int status
        cdef int problem = 0
        with nogil:
            while True:
                status = self._next(base, stop, &mint)
                if status >= 0:
                    break
                problem = out.add(&mint)
                if problem:
                    break
        if problem:
            out.refuse(problem, mint.lsn)
        return status

    def count(self, int64_t lsn, int32_t id):
        """Count a mint frame that came as OTHER and was decoded elsewhere; whether its Record is wanted."""
        self._count(lsn, id)
        return self.kinds is not None and (not self.filtered or id == self.wanted)

    def skip(self):
        """Pass over the whole frame at `position`, counting it."""
        self.position += self.frame_size
        self.frames += 1

    cdef inline void _count(self, int64_t lsn, int32_t id) noexcept nogil:
        if self.first_lsn == 0:
            self.first_lsn = self.min_lsn = lsn
        self.last_lsn = lsn
        if lsn < self.min_lsn:
            self.min_lsn = lsn
        if lsn > self.max_lsn:
            self.max_lsn = lsn
        if id > self.highest_id:
            self.highest_id = id
        if self.ids is not None:
            self.ids.add(id)

    cdef int _next(self, const uint8_t* base, Py_ssize_t stop, Mint* mint) noexcept nogil:
        """Take the next frame: -1 with `mint` filled and the position behind it, else what `decode` returns."""
        cdef const uint8_t* p = base + self.position
        cdef Py_ssize_t rest = stop - self.position
        cdef uint32_t size
        if rest < 4:
            self.frame_size = 0
            return _MORE
        size = get_u32_le(p)
        self.frame_size = <Py_ssize_t> size + 8
        if size == 0 or size > MAX_JSON:
            return _BAD_LENGTH
        if rest < self.frame_size:
            return _MORE
        if walcore_crc32c(0, p + 4, size) != get_u32_le(p + 4 + size):
            return _BAD_CRC
        if not _parse_mint(p + 4, p + 4 + size, mint):
            return _OTHER
        self.position += self.frame_size
        self.frames += 1
        self._count(mint.lsn, mint.id)
        return -1

    cdef Record _record(self, const Mint* mint):
        cdef Record record = Record.__new__(Record)
        record.lsn = mint.lsn
        record.id = mint.id
        record.hash = mint.hash
        record.kind = self.kinds[mint.kind]
        record.lexical = string_of(&mint.lexical)
        record.datatype = self._shared(&mint.datatype)
        record.language = self._shared(&mint.language)
        return record

    cdef object _shared(self, const Span* span):
        """The string of `span`, the same object as before for one of the few that come again and again."""
        cdef PyObject** slot
        if span.size == 0 or span.flags != 0:
            return string_of(span)
        slot = &self.slots[(span.size * 5 + span.data[span.size - 1]) % SLOTS]
        if (
            slot[0] is not NULL
            and PyUnicode_GET_LENGTH(<object> slot[0]) == span.size
            and memcmp(PyUnicode_DATA(<object> slot[0]), span.data, <size_t> span.size) == 0
        ):
            return <object> slot[0]
        text = string_of(span)
        Py_XDECREF(slot[0])
        Py_INCREF(text)
        slot[0] = <PyObject*> text
        return text


def find_frame(data, Py_ssize_t start, Py_ssize_t stop):
    """The first offset in data[start:stop] at which a whole frame could begin, as far as these bytes tell; -1 if none.

    That is a plausible length and the beginning of a JSON object behind it.  No JSON text has one inside: the length's
    fourth byte would have to be a printable character, which makes it too large.
    """
    cdef Py_buffer view
    cdef const uint8_t* base
    cdef Py_ssize_t i
    cdef Py_ssize_t found = -1
    cdef uint32_t size
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= start <= stop <= view.len:
            raise ValueError(f"start {start} and stop {stop} must lie within {view.len} bytes")
        base = <const uint8_t*> view.buf
        with nogil:
            for i in range(start, stop - 5):
                if base[i + 4] == c"{" and base[i + 5] in (c'"', c" ", c"\t", c"\r", c"\n"):
                    size = get_u32_le(base + i)
                    if 2 < size <= MAX_JSON:
                        found = i
                        break
        return found
    finally:
        PyBuffer_Release(&view)
