"""Rows of columns: sequences, arrays, single values, or an Arrow table that has them by name.

Columns that are arrays or single values, all of them, are measured without the GIL and without an object for a row;
beside a sequence of objects an array's values become objects as well.
"""

cimport cython
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from walcore._core.arrays cimport VALUE, Chunk, Source, chunk_of_buffer
from walcore._core.encode cimport (
    INT_DIGITS_MAX, MAX_JSON_BYTES, MINT_FIXED, Mint, Text, measure, mint_text_size, take_int32, take_mint,
)
from walcore._core.rows cimport Rows

from walcore._core.arrays import is_arrow
from walcore.errors import InvalidRecordError

# Text below this is far from the limit of a frame, which take_mint looks after.
cdef Py_ssize_t SURELY_SMALL = 1024 * 1024
cdef Py_ssize_t WINDOW_ROWS = 2048
cdef tuple TABLE_COLUMNS = ("id", "kind", "lexical", "datatype", "language", "hash")
cdef tuple NEEDED = TABLE_COLUMNS[:3]
# A row that each single value can be checked in.
cdef tuple STAND_INS = (0, "L", "", "", "", 0)


cdef extern from *:
    """
    #define PyTuple_ITEMS(tuple) ((void **)&PyTuple_GET_ITEM(tuple, 0))
    """
    void **PyTuple_ITEMS(object values)
    const Py_ssize_t PY_SSIZE_T_MAX


cdef enum ColumnForm:
    ONE_VALUE           # stands for all rows
    OBJECTS             # a sequence of them
    CHUNKS              # one array, or several one behind another


# What ended `measure_arrays`.
cdef enum Stop:
    WINDOWS_END
    NO_ROOM
    SLICE_FULL
    WRONG_ROW


@cython.final
cdef class Column:
    """One argument of log_mint_many: a value for every row, or one for all."""

    cdef str name
    cdef str field              # what one of its values is called
    cdef ColumnForm form
    cdef object values
    cdef list chunks            # those still to come
    cdef Chunk chunk            # the one that the window is in
    cdef Py_ssize_t chunk_start
    cdef list windows           # tuples, and chunks, of the slice being measured: what holds its rows meanwhile
    cdef void **items           # those of the last window, borrowed; or the address of the one
    cdef void *one
    cdef Py_ssize_t window_start
    cdef Py_ssize_t window_end
    cdef Py_ssize_t step        # 1; 0 where one value stands for all
    cdef Py_ssize_t length      # rows; -1 where one value stands for all

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
        self.chunks = self.arrays(values, scalar)
        if self.chunks is not None:
            self.form = CHUNKS
            self.length = 0
            for chunk in self.chunks:
                self.length += (<Chunk>chunk).length
        else:
            if type(values) is not list and type(values) is not range:
                taken = self.as_tuple(values, scalar)
                if taken is None:
                    return
                self.values = taken
            self.form = OBJECTS
            self.length = len(self.values)
        self.step = 1
        self.window_end = 0

    cdef list arrays(self, values, scalar):
        """The arrays that the values are; None if they are others."""
        if is_arrow(values):
            return Source(values).chunks(self.name, scalar is str)
        chunk = chunk_of_buffer(values) if scalar is int else None
        return None if chunk is None else [chunk]

    cdef tuple as_tuple(self, values, scalar):
        """All objects of another sequence or iterable; None if it stands for one value after all."""
        cdef tuple taken = None
        try:
            taken = tuple(values)
        except TypeError:
            if scalar is not int or not hasattr(values, "__index__"):
                raise TypeError(f"{self.name} must be a sequence or one {scalar.__name__} for all rows, "
                                f"not {type(values).__name__}") from None
        return taken

    cdef int next_chunk(self, Py_ssize_t row) except -1:
        """Goes to the array that has the row."""
        while self.chunk is None or row >= self.chunk_start + self.chunk.length:
            self.chunk_start += 0 if self.chunk is None else self.chunk.length
            self.chunk = self.chunks.pop(0)
            self.windows.append(self.chunk)
        self.window_start = self.chunk_start
        self.window_end = self.chunk_start + self.chunk.length
        return 0

    cdef int next_window(self, Py_ssize_t row) except -1:
        """Takes the objects from `row` on as a tuple: few enough to stay in the cache until they are packed."""
        cdef tuple window
        if self.form == CHUNKS:
            self.next_chunk(row)
            if not self.chunk.is_text:      # read by int32
                return 0
            window = self.strings(row, min(row + WINDOW_ROWS, self.window_end))
        else:
            window = tuple(self.values[row:row + WINDOW_ROWS])
            if len(window) != min(WINDOW_ROWS, self.length - row):
                raise RuntimeError(f"{self.name} changed its length while it was being logged")
        self.windows.append(window)
        self.items = PyTuple_ITEMS(window)
        self.window_start = row
        self.window_end = row + len(window)
        return 0

    cdef tuple strings(self, Py_ssize_t row, Py_ssize_t end):
        """The strings of an array from `row` on, up to one that there is something wrong with."""
        cdef list found = [self.value(row)]
        for i in range(row + 1, end):
            try:
                found.append(self.value(i))
            except InvalidRecordError:      # raised again when the rows before it were measured
                break
        return tuple(found)

    cdef object value(self, Py_ssize_t row):
        """The row's value as an object, for a column that isn't OBJECTS."""
        return self.values if self.form == ONE_VALUE else self.chunk.value(row - self.chunk_start, self.field)

    cdef inline void *item(self, Py_ssize_t row) noexcept:
        """The row's object, which must be in the window."""
        return self.items[(row - self.window_start) * self.step]

    cdef inline int int32(self, Py_ssize_t row, int32_t *result) except -1:
        if self.form != CHUNKS:
            return take_int32(<object>self.item(row), self.field, result)
        if not self.array_int32(row, result):
            take_int32(self.value(row), self.field, result)
        return 0

    cdef inline bint array_int32(self, Py_ssize_t row, int32_t *result) noexcept nogil:
        """The row's number, of a column of arrays; False if there is none that fits."""
        cdef int64_t value = 0
        if self.chunk.integer(row - self.chunk_start, &value) != VALUE or not -2147483648 <= value <= 2147483647:
            return False
        result[0] = <int32_t>value
        return True

    cdef inline bint array_text(self, Py_ssize_t row, Text *result) noexcept nogil:
        return self.chunk.text(row - self.chunk_start, result) == VALUE


@cython.final
cdef class Columns(Rows):
    """Six columns, as log_mint_many takes them."""

    cdef Column ids, kinds, lexicals, datatypes, languages, hashes
    cdef tuple columns          # the same
    cdef Py_ssize_t length
    cdef Py_ssize_t window_end  # up to here the rows are in the columns' windows
    cdef bint of_objects        # one of the columns is
    cdef Source source          # of a table, whose later batches are still to come; else None
    cdef dict texts             # its columns, and whether they are text
    cdef Mint last              # the row before: most rows share kind, datatype, language and hash with it
    cdef Mint single            # without columns of objects: the values that stand for all rows
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
        for column in self.columns:
            self.of_objects |= (<Column>column).form == OBJECTS
        self.length = self.common_length()
        memset(&self.last, 0, sizeof(Mint))

    cdef int begin_table(self, Source source) except -1:
        """Takes the columns that the table has from there, batch by batch."""
        cdef Column column
        if source.names is None:
            raise TypeError("log_mint_many takes an Arrow table or record batch, or an array for each column")
        self.texts = {}
        for column in self.columns:
            if source.names.count(column.field) > 1:
                raise TypeError(f"the table has more than one column {column.field}")
            if column.field in source.names:
                self.texts[column.field] = column is not self.ids and column is not self.hashes
                column.form = CHUNKS
                column.chunks = []
                column.step = 1
                column.length = column.window_end = 0
            elif column.field in NEEDED:
                raise TypeError(f"the table has no column {column.field}")
        for name in source.names:
            if name != "lsn" and name not in self.texts:
                raise TypeError(f"the table has a column {name}; log_mint_many knows {', '.join(TABLE_COLUMNS)}")
        source.check_parts(self.texts)
        self.source = source
        self.length = 0
        return 0

    cdef bint next_batch(self) except -1:
        """Has the next rows of a table here; False if there are none."""
        cdef dict parts
        cdef Column column
        while self.source is not None and self.row == self.length:
            parts = self.source.parts(self.texts)
            if parts is None:
                self.source = None
                break
            for column in self.columns:
                if column.field in parts:
                    column.chunks.append(parts[column.field])
            self.length += (<Chunk>parts["id"]).length
        return self.row < self.length

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
        cdef Stop stop
        self.count = self.frame_bytes = 0
        for column in self.columns:
            del column.windows[:len(column.windows) - 1]    # what was packed; the row that comes next is in the last
        while self.row < self.length or self.next_batch():
            if not self.of_objects:
                stop = self.measure_arrays(limit)
                if stop == SLICE_FULL:
                    break
                continue
            self.measure_row(self.room_for_one(), self.row)
            if not self.add(limit):
                break
        return self.count > 0

    # --- arrays and single values ------------------------------------------------------------------------------------

    cdef Stop measure_arrays(self, Py_ssize_t limit) except *:
        """Adds rows up to the end of the slice or of one of the arrays."""
        cdef Stop stop
        if self.row >= self.window_end:
            self.next_arrays(self.row)
        self.room_for_one()
        with nogil:
            stop = self.add_arrays(limit)
        if stop == WRONG_ROW:
            self.refuse_row(self.row)
        return stop

    cdef int next_arrays(self, Py_ssize_t row) except -1:
        cdef Column column
        if row == 0:
            self.take_single_values()
        self.window_end = self.length
        for column in self.columns:
            if column.form == CHUNKS:
                if row >= column.window_end:
                    column.next_chunk(row)
                self.window_end = min(self.window_end, column.window_end)
        return 0

    cdef int take_single_values(self) except -1:
        """Checks what stands for all rows; a literal's own are as good as any where the kind is a column."""
        cdef Column column
        cdef list values = list(STAND_INS)
        for i, column in enumerate(self.columns):
            if column.form == ONE_VALUE:
                values[i] = column.values
        return take_values(values, &self.single)

    cdef Stop add_arrays(self, Py_ssize_t limit) noexcept nogil:
        """measure_arrays for as many rows as there is room for."""
        while self.row < self.window_end:
            if self.count == self.capacity:
                return NO_ROOM
            if not self.measure_array_row(&self.mints[self.count], self.row):
                return WRONG_ROW
            if not self.add(limit):
                return SLICE_FULL
        return WINDOWS_END

    cdef inline bint measure_array_row(self, Mint *mint, Py_ssize_t row) noexcept nogil:
        """False: the row can't be logged."""
        cdef Text kind
        mint[0] = self.single
        if self.ids.form == CHUNKS and not self.ids.array_int32(row, &mint.id):
            return False
        if self.kinds.form == CHUNKS:
            if not self.kinds.array_text(row, &kind) or kind.length != 1:
                return False
            mint.kind = (<const char *>kind.data)[0]
            if mint.kind != c"I" and mint.kind != c"B" and mint.kind != c"L" and mint.kind != c"N":
                return False
        if self.lexicals.form == CHUNKS and not self.lexicals.array_text(row, &mint.lexical):
            return False
        if self.datatypes.form == CHUNKS and not self.datatypes.array_text(row, &mint.datatype):
            return False
        if self.languages.form == CHUNKS and not self.languages.array_text(row, &mint.language):
            return False
        if self.hashes.form == CHUNKS and not self.hashes.array_int32(row, &mint.hash):
            return False
        if mint.kind != c"L" and (mint.datatype.length or mint.language.length):
            return False
        return MINT_FIXED + 3 * INT_DIGITS_MAX + mint_text_size(mint) <= MAX_JSON_BYTES

    cdef int refuse_row(self, Py_ssize_t row) except -1:
        """Raises for a row that measure_array_row found wrong."""
        cdef Mint mint
        cdef Column column
        take_values([column.value(row) for column in self.columns], &mint)
        raise RuntimeError("an array changed while it was being logged")

    # --- sequences of objects ----------------------------------------------------------------------------------------

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


cdef int take_values(list values, Mint *mint) except -1:
    id, kind, lexical, datatype, language, hash = values
    return take_mint(id, kind, lexical, datatype, language, hash, mint)


def table(values):
    """The Columns of an Arrow table, record batch, or stream of these."""
    cdef Columns columns = Columns(0, "", "", "", "", 0)
    columns.begin_table(Source(values))
    return columns
