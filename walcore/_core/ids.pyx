"""Which ids lie in which blocks of a segment, as sorted pages of bits: what an index file is made of.

A page holds up to PAGE_IDS pairs of key and block, in order; `docs/format.md` describes its bytes.  A key is an id
without its lowest `shift` bits: no more bits are kept than it takes to tell most ids that aren't there.
"""

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from walcore._core.crc32c cimport walcore_crc32c
from walcore._core.endian cimport get_u32_le, get_u64_le, put_u32_le

cdef extern from * nogil:
    """
    #define walcore_bit_length(x) ((x) ? 64 - __builtin_clzll(x) : 0)
    #define walcore_zeros(x) ((x) ? __builtin_ctzll(x) : 64)
    """
    int walcore_bit_length(uint64_t)
    int walcore_zeros(uint64_t)

cdef enum:
    PAGE_IDS = 512          # an id's page is unpacked from its start
    HEAD = 8                # bytes of a page before its bits
    ESCAPE = 24             # so many zeros: the gap follows as 32 bits
    SPARE_BITS = 7          # an id that isn't there has a key that is with a probability of 1 in 130 to 500
    DIGIT = 11              # bits that one pass of the sort looks at
    ENTRY = 8               # bytes of a table's entry: a page's first key and its offset in the file
    MOST_BITS = 89          # of a pair: an escaped gap and 32 of the block
    ROOM = 5712             # of a page that has only such, its head and 8 bytes to spare


cdef void sort(uint64_t *entries, uint64_t *spare, Py_ssize_t count) noexcept nogil:
    """By id; equal ids keep their order, which is that of the blocks."""
    cdef Py_ssize_t starts[1 << DIGIT]
    cdef Py_ssize_t i, total, here
    cdef uint64_t *source = entries
    cdef uint64_t *target = spare
    cdef uint64_t *other
    cdef int place, digit
    for i in range(1, count):
        if entries[i] < entries[i - 1]:
            break
    else:
        return
    for place in range(3):
        memset(starts, 0, sizeof(starts))
        for i in range(count):
            starts[(source[i] >> (32 + place * DIGIT)) & ((1 << DIGIT) - 1)] += 1
        total = 0
        for digit in range(1 << DIGIT):
            here = starts[digit]
            starts[digit] = total
            total += here
        for i in range(count):
            digit = <int>((source[i] >> (32 + place * DIGIT)) & ((1 << DIGIT) - 1))
            target[starts[digit]] = source[i]
            starts[digit] += 1
        other = source
        source = target
        target = other
    memcpy(entries, source, <size_t>count * sizeof(uint64_t))     # three passes end in the spare


cdef int shift_for(const uint64_t *entries, Py_ssize_t count) noexcept nogil:
    """By the typical gap between sorted ids: a few that lie far off say nothing of the others."""
    cdef Py_ssize_t i
    cdef Py_ssize_t bits = 0
    for i in range(1, count):
        bits += walcore_bit_length((entries[i] >> 32) - (entries[i - 1] >> 32))
    return max(0, <int>(bits // count) - SPARE_BITS)


cdef Py_ssize_t leave_out(uint64_t *entries, Py_ssize_t count, int shift) noexcept nogil:
    """Turn sorted ids into keys, each pair of key and block once, in order; returns how many there are."""
    cdef Py_ssize_t i, at
    cdef Py_ssize_t kept = 0
    cdef uint64_t entry
    for i in range(count):
        entry = (entries[i] >> 32 >> shift << 32) | (entries[i] & 0xFFFFFFFFU)
        at = kept
        while at > 0 and entries[at - 1] > entry:   # of ids that share a key, the blocks come in any order
            at -= 1
        if at > 0 and entries[at - 1] == entry:
            continue
        memmove(entries + at + 1, entries + at, <size_t>(kept - at) * sizeof(uint64_t))
        entries[at] = entry
        kept += 1
    return kept


# ---- Bits, the lowest of a byte first --------------------------------------------------------------------------------

cdef struct Bits:
    uint8_t *data
    uint64_t at                 # of the next bit
    uint64_t end


cdef inline void put_bits(Bits *bits, uint64_t value, int width) noexcept nogil:
    """Up to 57 bits; the room, with 8 bytes to spare, is zeros."""
    cdef uint8_t *p = bits.data + (bits.at >> 3)
    cdef int i
    value <<= bits.at & 7
    for i in range(8):
        p[i] |= <uint8_t>((value >> (8 * i)) & 0xFF)
    bits.at += width


cdef inline uint64_t next_bits(const Bits *bits) noexcept nogil:
    """At least the next 57 bits, zeros behind the end."""
    cdef const uint8_t *p = bits.data + (bits.at >> 3)
    cdef uint64_t left = ((bits.end + 7) >> 3) - (bits.at >> 3)
    cdef uint64_t value = 0
    cdef uint64_t i
    if left >= 8:
        value = get_u64_le(p)
    else:
        for i in range(left):
            value |= <uint64_t>p[i] << (8 * i)
    return value >> (bits.at & 7)


cdef inline void put_gap(Bits *bits, uint32_t gap, int low) noexcept nogil:
    """Golomb-Rice: the gap's upper part as so many zeros and a one, then its `low` lowest bits."""
    cdef uint32_t upper = gap >> low
    if upper >= ESCAPE:
        put_bits(bits, <uint64_t>1 << ESCAPE, ESCAPE + 1)
        put_bits(bits, gap, 32)
    else:
        put_bits(bits, <uint64_t>1 << upper, <int>upper + 1)
        put_bits(bits, gap & ((<uint64_t>1 << low) - 1), low)


cdef inline bint get_gap(Bits *bits, int low, uint32_t *gap) noexcept nogil:
    """False where the bits end."""
    cdef int zeros = walcore_zeros(next_bits(bits))
    if zeros > ESCAPE:
        return False
    bits.at += zeros + 1
    if bits.at > bits.end:
        return False
    if zeros == ESCAPE:
        gap[0] = <uint32_t>(next_bits(bits) & 0xFFFFFFFFU)
        bits.at += 32
    else:
        gap[0] = (<uint32_t>zeros << low) | <uint32_t>(next_bits(bits) & ((<uint64_t>1 << low) - 1))
        bits.at += low
    return bits.at <= bits.end


# ---- Writing ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class IdRun:
    """IdRun()

    Ids as a decoder meets them, each with the block that `block` says at the time; `len` is how many are held, at 8
    bytes each.  `encode` takes as much again.
    """

    def __cinit__(self):
        self.entries = NULL
        self.count = self.capacity = 0
        self.block = 0
        self.short_of_memory = False

    def __dealloc__(self):
        free(self.entries)

    def __len__(self):
        return self.count

    def clear(self):
        """Forget the ids held."""
        self.count = 0

    cdef bint grow(self) noexcept nogil:
        cdef Py_ssize_t capacity = 2 * self.capacity if self.capacity else PAGE_IDS
        cdef void *entries = NULL
        if not self.short_of_memory:
            entries = realloc(self.entries, <size_t>capacity * sizeof(uint64_t))
        if entries is NULL:
            self.short_of_memory = True
            return False
        self.entries = <uint64_t *>entries
        self.capacity = capacity
        return True

    def encode(self, uint32_t offset):
        """Give up the ids held; returns `(shift, lowest, highest, table, pages)`.

        `lowest` and `highest` are ids; `pages` lie one behind another, the first at `offset` of the file; `table`
        has the first key and the offset of each.  Without ids `table` and `pages` are empty.

        Raises:
            MemoryError: there was no memory for an id, now or when it was met: the run is of no use.
        """
        cdef uint64_t *spare
        cdef uint8_t *room
        cdef uint32_t lowest, highest
        cdef Py_ssize_t kept, start, end, used = 0
        cdef int shift
        cdef object table, pages
        if self.short_of_memory:
            raise MemoryError("no memory for the ids of a segment")
        if self.count == 0:
            return 0, 0, 0, b"", b""
        spare = <uint64_t *>malloc(<size_t>self.count * sizeof(uint64_t))
        if spare is NULL:
            raise MemoryError("no memory to sort the ids of a segment")
        with nogil:
            sort(self.entries, spare, self.count)
            lowest = <uint32_t>(self.entries[0] >> 32)
            highest = <uint32_t>(self.entries[self.count - 1] >> 32)
            shift = shift_for(self.entries, self.count)
            kept = leave_out(self.entries, self.count, shift)
        free(spare)
        table = PyBytes_FromStringAndSize(NULL, (kept + PAGE_IDS - 1) // PAGE_IDS * ENTRY)
        # A list of pages: how long they become is known when they are made.
        parts = []
        for start in range(0, kept, PAGE_IDS):
            end = min(start + PAGE_IDS, kept)
            room = <uint8_t *>PyBytes_AS_STRING(table) + start // PAGE_IDS * ENTRY
            put_u32_le(room, <uint32_t>(self.entries[start] >> 32))
            put_u32_le(room + 4, offset + <uint32_t>used)
            page = pack(self.entries + start, end - start)
            used += PyBytes_GET_SIZE(page)
            parts.append(page)
        pages = b"".join(parts)
        self.count = 0
        return shift, <int32_t>(lowest ^ 0x80000000U), <int32_t>(highest ^ 0x80000000U), table, pages


cdef bytes pack(const uint64_t *entries, Py_ssize_t count):
    """One page; the first key is in the table."""
    cdef uint8_t room[ROOM]
    cdef Py_ssize_t size
    with nogil:
        size = fill(room, entries, count)
    return PyBytes_FromStringAndSize(<char *>room, size)


cdef Py_ssize_t fill(uint8_t *room, const uint64_t *entries, Py_ssize_t count) noexcept nogil:
    cdef uint32_t first_block = 0xFFFFFFFFU
    cdef uint32_t last_block = 0
    cdef uint32_t block
    cdef uint64_t span = (entries[count - 1] >> 32) - (entries[0] >> 32)
    cdef Py_ssize_t i, size
    cdef int low, width
    cdef Bits bits
    for i in range(count):
        block = <uint32_t>(entries[i] & 0xFFFFFFFFU)
        first_block = min(first_block, block)
        last_block = max(last_block, block)
    low = max(0, walcore_bit_length(span // <uint64_t>count) - 1)
    width = walcore_bit_length(last_block - first_block)
    memset(room, 0, ROOM)
    room[0] = <uint8_t>low
    room[1] = <uint8_t>width
    room[2] = <uint8_t>(count & 0xFF)
    room[3] = <uint8_t>(count >> 8)
    put_u32_le(room + 4, first_block)
    bits.data = room + HEAD
    bits.at = bits.end = 0
    for i in range(count):
        if i > 0:
            put_gap(&bits, <uint32_t>((entries[i] >> 32) - (entries[i - 1] >> 32)), low)
        put_bits(&bits, (entries[i] & 0xFFFFFFFFU) - first_block, width)
    size = HEAD + <Py_ssize_t>((bits.at + 7) >> 3)
    put_u32_le(room + size, walcore_crc32c(0, room, <size_t>size))
    return size + 4


# ---- Reading ---------------------------------------------------------------------------------------------------------

def key_of(int32_t id, int shift):
    """The key of `id` in a run that leaves out `shift` bits."""
    if not 0 <= shift < 32:
        raise ValueError(f"no shift: {shift}")
    return (<uint32_t>id ^ 0x80000000U) >> shift


cdef inline uint32_t first_key(const uint8_t *table, Py_ssize_t page) noexcept nogil:
    return get_u32_le(table + page * ENTRY)


def pages_with(bytes table not None, uint32_t key):
    """`(first, end)`: the pages of a table in which `key` can be."""
    cdef const uint8_t *entries = <const uint8_t *>PyBytes_AS_STRING(table)
    cdef Py_ssize_t count = PyBytes_GET_SIZE(table) // ENTRY
    cdef Py_ssize_t low = 0, high = count, middle, end
    while low < high:                       # the first page that begins at the key or above
        middle = (low + high) >> 1
        if first_key(entries, middle) < key:
            low = middle + 1
        else:
            high = middle
    end = low
    while end < count and first_key(entries, end) == key:
        end += 1
    return max(low - 1, 0), end


def blocks_in(bytes page not None, uint32_t first, uint32_t key):
    """The blocks that `page`, whose first key is `first`, has for `key`, in order.

    Raises:
        ValueError: the page is damaged.
    """
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(page)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(page) - 4
    cdef Py_ssize_t i, count
    cdef uint32_t block, gap
    cdef uint64_t current = first
    cdef int low, width
    cdef Bits bits
    cdef list found = []
    if size < HEAD or walcore_crc32c(0, data, <size_t>size) != get_u32_le(data + size):
        raise ValueError("a page's checksum doesn't hold")
    low, width = data[0], data[1]
    count = data[2] | (<Py_ssize_t>data[3] << 8)
    if low > 31 or width > 32:
        raise ValueError("a page of impossible widths")
    bits.data = <uint8_t *>data + HEAD
    bits.at = 0
    bits.end = <uint64_t>(size - HEAD) * 8
    for i in range(count):
        if i > 0:
            if not get_gap(&bits, low, &gap):
                raise ValueError("a page ends too early")
            current += gap
        if current > key:
            break
        if bits.at + <uint64_t>width > bits.end:
            raise ValueError("a page ends too early")
        if current == key:
            block = <uint32_t>(next_bits(&bits) & ((<uint64_t>1 << width) - 1))
            found.append(<uint64_t>get_u32_le(data + 4) + block)
        bits.at += width
    return found
