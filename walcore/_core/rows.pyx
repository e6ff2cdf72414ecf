"""What log_mint_many takes: columns, or an iterable of records.

Either is measured slice by slice into an array of `Mint`, as many rows at a time as one half of the buffer holds; a
slice is checked whole before any of it is logged.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from walcore._core.decode cimport Record
from walcore._core.encode cimport (
    FRAME_OVERHEAD, INT_DIGITS_MAX, MINT_FIXED, Mint, measure, mint_text_size, take_int32, take_mint,
)

from walcore.errors import InvalidRecordError

cdef Py_ssize_t FRAME_FIXED_MAX = FRAME_OVERHEAD + MINT_FIXED + 3 * INT_DIGITS_MAX
cdef Py_ssize_t FIRST_CAPACITY = 256
# Text below this is far from the limit of a frame, which take_mint looks after.
cdef Py_ssize_t SURELY_SMALL = 1024 * 1024
cdef Py_ssize_t WINDOW_ROWS = 2048
cdef object NO_ITEM = object()  # None may be a (wrong) item


cdef extern from *:
    """
    #define PyTuple_ITEMS(tuple) ((void **)&PyTuple_GET_ITEM(tuple, 0))
    """
    void **PyTuple_ITEMS(object values)
    const Py_ssize_t PY_SSIZE_T_MAX


cdef enum ColumnForm:
    ONE_VALUE           # stands for all rows
    WINDOWS
    INT32_ARRAY
    INT64_ARRAY


@cython.final
cdef class Column:
    """One argument of log_mint_many: a value for every row, or one for all."""

    cdef str name
    cdef str field              # what one of its values is called
    cdef ColumnForm form
    cdef object values
    cdef list windows           # tuples of the objects of the slice being measured: what holds them meanwhile
    cdef void **items           # those of the last window, borrowed; or the address of the one
    cdef void *one
    cdef Py_ssize_t window_start
    cdef Py_ssize_t window_end
    cdef Py_ssize_t step        # 1; 0 where one value stands for all
    cdef Py_ssize_t length      # rows; -1 where one value stands for all
    cdef Py_buffer view
    cdef bint has_view

    def __cinit__(self, str name, str field, values, scalar):
        self.name = name
        self.field = field
        self.values = values
        self.one = <void *>values
        self.items = &self.one
        self.windows = []
        self.window_end = PY_SSIZE_T_MAX
        self.length = -1
        self.form = ONE_VALUE
        if isinstance(values, scalar):
            return
        if scalar is int and self.take_array():
            return
        if type(values) is not list and type(values) is not range:
            self.values = self.as_tuple(values, scalar)
            if self.values is None:
                return
        self.form = WINDOWS
        self.step = 1
        self.window_end = 0
        self.length = len(self.values)

    cdef tuple as_tuple(self, values, scalar):
        """All objects of another sequence or iterable; None if it stands for one value after all."""
        cdef tuple taken = None
        try:
            taken = tuple(values)
        except TypeError:
            if scalar is not int or not hasattr(values, "__index__"):
                raise TypeError(f"{self.name} must be a sequence or one {scalar.__name__} for all rows, "
                                f"not {type(values).__name__}") from None
            self.values = values
        return taken

    cdef int next_window(self, Py_ssize_t row) except -1:
        """Takes the objects from `row` on as a tuple: few enough to stay in the cache until they are packed."""
        cdef tuple window = tuple(self.values[row:row + WINDOW_ROWS])
        if len(window) != min(WINDOW_ROWS, self.length - row):
            raise RuntimeError(f"{self.name} changed its length while it was being logged")
        self.windows.append(window)
        self.items = PyTuple_ITEMS(window)
        self.window_start = row
        self.window_end = row + len(window)
        return 0

    cdef bint take_array(self) except -1:
        """Exports the buffer of a one-dimensional array of 32 or 64 bit integers; False if it isn't one."""
        if not PyObject_CheckBuffer(self.values):
            return False
        cdef bint exported = True
        try:
            PyObject_GetBuffer(self.values, &self.view, PyBUF_FORMAT | PyBUF_ND)
        except (BufferError, ValueError):
            exported = False
        if not exported:
            return False
        code = self.view.format if self.view.format != NULL else b"B"
        if self.view.ndim == 1 and code in (b"i", b"l", b"q") and self.view.itemsize in (4, 8):
            self.form = INT32_ARRAY if self.view.itemsize == 4 else INT64_ARRAY
            self.length = self.view.shape[0]
            self.has_view = True
            return True
        PyBuffer_Release(&self.view)
        return False

    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)

    cdef inline void *item(self, Py_ssize_t row) noexcept:
        """The row's object, which must be in the window."""
        return self.items[(row - self.window_start) * self.step]

    cdef inline int int32(self, Py_ssize_t row, int32_t *result) except -1:
        cdef int64_t value
        if self.form == INT32_ARRAY:
            result[0] = (<int32_t *>self.view.buf)[row]
        elif self.form == INT64_ARRAY:
            value = (<int64_t *>self.view.buf)[row]
            if not -2147483648 <= value <= 2147483647:
                take_int32(value, self.field, result)
            result[0] = <int32_t>value
        else:
            take_int32(<object>self.item(row), self.field, result)
        return 0


cdef class Rows:
    """A source of measured rows; `fill` makes the next slice."""

    def __cinit__(self, *args):
        self.held = []

    def __dealloc__(self):
        free(self.mints)

    cdef Mint *room_for_one(self) except NULL:
        """The place of the next row, zeroed the first time."""
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

    cdef bint add(self, Py_ssize_t limit) noexcept:
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
cdef class Columns(Rows):
    """Six columns, as log_mint_many takes them."""

    cdef Column ids, kinds, lexicals, datatypes, languages, hashes
    cdef tuple columns          # the same
    cdef Py_ssize_t length
    cdef Py_ssize_t window_end  # up to here the rows' objects are in the columns' windows
    cdef Mint last              # the row before: most rows share kind, datatype, language and hash with it
    cdef void *last_kind        # compared only: the columns hold what they point at
    cdef void *last_datatype
    cdef void *last_language

    def __init__(self, ids, kinds, lexicals, datatypes, languages, hashes):
        self.ids = Column("ids", "id", ids, int)
        self.kinds = Column("kinds", "kind", kinds, str)
        self.lexicals = Column("lexicals", "lexical", lexicals, str)
        self.datatypes = Column("datatypes", "datatype", datatypes, str)
        self.languages = Column("languages", "language", languages, str)
        self.hashes = Column("hashes", "hash", hashes, int)
        self.columns = (self.ids, self.kinds, self.lexicals, self.datatypes, self.languages, self.hashes)
        self.length = self.common_length()
        memset(&self.last, 0, sizeof(Mint))

    cdef Py_ssize_t common_length(self) except -1:
        cdef Column column, first = None
        for column in self.columns:
            if column.length < 0:
                continue
            if first is None:
                first = column
            elif column.length != first.length:
                raise InvalidRecordError(f"columns differ in length: {first.name} has {first.length} rows, "
                                         f"{column.name} has {column.length}", field=column.name)
        return 1 if first is None else first.length

    cdef bint fill(self, Py_ssize_t limit) except -1:
        cdef Column column
        self.count = self.frame_bytes = 0
        for column in self.columns:
            del column.windows[:len(column.windows) - 1]    # what was packed; the row that comes next is in the last
        while self.row < self.length:
            self.measure_row(self.room_for_one(), self.row)
            if not self.add(limit):
                break
        return self.count > 0

    cdef int next_windows(self, Py_ssize_t row) except -1:
        cdef Column column
        self.window_end = PY_SSIZE_T_MAX
        for column in self.columns:
            if row >= column.window_end:
                column.next_window(row)
            self.window_end = min(self.window_end, column.window_end)
        return 0

    cdef int measure_row(self, Mint *mint, Py_ssize_t row) except -1:
        if row >= self.window_end:
            self.next_windows(row)
        cdef void *lexical = self.lexicals.item(row)
        cdef void *datatype = self.datatypes.item(row)
        cdef void *language = self.languages.item(row)
        cdef void *kind = self.kinds.item(row)
        self.ids.int32(row, &mint.id)
        if self.hashes.length >= 0 or not row:
            self.hashes.int32(row, &mint.hash)
        else:
            mint.hash = self.last.hash
        if (kind == self.last_kind and datatype == self.last_datatype and language == self.last_language
                and PyUnicode_Check(<object>lexical)):
            mint.kind = self.last.kind
            mint.datatype = self.last.datatype
            mint.language = self.last.language
            measure(<object>lexical, &mint.lexical)
            if mint_text_size(mint) < SURELY_SMALL:
                return 0
        take_mint(mint.id, <object>kind, <object>lexical, <object>datatype, <object>language, mint.hash, mint)
        self.last = mint[0]
        self.last_kind = kind
        self.last_datatype = datatype
        self.last_language = language
        return 0


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
