"""What log_mint_many takes, measured slice by slice into an array of `Mint`: here an iterable of records.

A slice has as many rows as one half of the buffer holds, and is checked whole before any of it is logged.
"""

cimport cython
from libc.stdlib cimport free, realloc

from walcore._core.record cimport Record
from walcore._core.encode cimport FRAME_OVERHEAD, INT_DIGITS_MAX, MINT_FIXED, Mint, mint_text_size, take_mint

cdef Py_ssize_t FRAME_FIXED_MAX = FRAME_OVERHEAD + MINT_FIXED + 3 * INT_DIGITS_MAX
cdef Py_ssize_t FIRST_CAPACITY = 256
cdef object NO_ITEM = object()  # None may be a (wrong) item


cdef class Rows:
    """A source of measured rows; `fill` makes the next slice."""

    def __cinit__(self, *args):
        self.held = []

    def __dealloc__(self):
        free(self.mints)

    cdef Mint *room_for_one(self) except NULL:
        """The place of the next row."""
        cdef Py_ssize_t capacity
        cdef Mint *grown
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else FIRST_CAPACITY
            grown = <Mint *>realloc(self.mints, <size_t>capacity * sizeof(Mint))
            if grown == NULL:
                raise MemoryError
            self.mints = grown
            self.capacity = capacity
        return &self.mints[self.count]

    cdef bint add(self, Py_ssize_t limit) noexcept nogil:
        """Takes the row that was measured into the slice, unless the slice would not fit then."""
        cdef Py_ssize_t size = FRAME_FIXED_MAX + mint_text_size(&self.mints[self.count])
        if self.count and self.frame_bytes + size > limit:
            return False
        self.frame_bytes += size
        self.count += 1
        self.row += 1
        return True

    cdef bint fill(self, Py_ssize_t limit) except -1:
        """Measures the next slice, of at most `limit` bytes unless it is a single row; False at the end."""
        raise TypeError("a source of rows")


@cython.final
cdef class Records(Rows):
    """An iterable of Records, whose LSNs are ignored, or of tuples in log_mint's order."""

    cdef object items
    cdef object waiting         # the item that began the next slice by not fitting this one

    def __init__(self, items):
        self.waiting = NO_ITEM
        try:
            self.items = iter(items)
        except TypeError:
            raise TypeError(f"log_mint_many takes columns, or an iterable of records or tuples, "
                            f"not {type(items).__name__}") from None

    cdef bint fill(self, Py_ssize_t limit) except -1:
        cdef object item
        self.count = self.frame_bytes = 0
        self.held = []
        while True:
            item = self.waiting if self.waiting is not NO_ITEM else next(self.items, NO_ITEM)
            self.waiting = NO_ITEM
            if item is NO_ITEM:
                break
            if type(item) is not Record and type(item) is not tuple:
                item = as_tuple(item)
            self.measure_row(self.room_for_one(), item)
            if not self.add(limit):
                self.waiting = item
                break
            self.held.append(item)
        return self.count > 0

    cdef int measure_row(self, Mint *mint, object item) except -1:
        cdef Record record
        cdef Py_ssize_t size
        if type(item) is Record:
            record = <Record>item
            return take_mint(record.id, record.kind, record.lexical, record.datatype, record.language, record.hash,
                             mint)
        size = len(<tuple>item)
        if not 3 <= size <= 6:
            raise TypeError(f"a record is a Record or a tuple of id, kind, lexical, and up to datatype, language, "
                            f"hash, not a tuple of {size}")
        return take_mint(item[0], item[1], item[2], item[3] if size > 3 else "", item[4] if size > 4 else "",
                         item[5] if size > 5 else 0, mint)


cdef tuple as_tuple(object item):
    if isinstance(item, (list, tuple)):
        return tuple(item)
    raise TypeError(f"a record is a Record or a tuple in log_mint's order, not {type(item).__name__}")
