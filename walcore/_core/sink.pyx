"""What the decoder gives records to that become no objects: what all such have in common, and one that only counts."""

cimport cython
from libc.stdint cimport int64_t

from walcore._core.minted cimport Mint

from walcore.errors import InvalidRecordError


cdef class Sink:
    """Takes records without the GIL.

    A lot is what came since `begin`: `len` of it, `first_lsn` and `last_lsn`.  Not for several threads at a time.
    """

    def __len__(self):
        return <Py_ssize_t> self.count

    def begin(self):
        """Begin a lot; returns self."""
        self.count = 0
        return self

    def lsns(self):
        """The LSNs of the lot's last records, of 512 at most."""
        cdef size_t i
        return [self.recent[i % RECENT] for i in range(self.count - min(self.count, <size_t> RECENT), self.count)]

    def append(self, record):
        """Take a Record.

        Raises:
            InvalidRecordError: it can't be taken.
        """
        cdef Mint mint
        mint.lsn = record.lsn
        self.add(&mint)

    cdef int add(self, const Mint *mint) noexcept nogil:
        """Take a record: 0, or what is wrong with it, for `refuse`.  Who takes it in has this note it."""
        if self.count == 0:
            self.first_lsn = mint.lsn
        self.last_lsn = mint.lsn
        self.recent[self.count % RECENT] = mint.lsn
        self.count += 1
        return 0

    cdef int refuse(self, int problem, int64_t lsn) except -1:
        """Raise for what `add` didn't take; here it takes all."""
        raise InvalidRecordError(f"the record with LSN {lsn} can't be taken")


@cython.final
cdef class Tally(Sink):
    """Counts records by their kind, whatever the lot; `counts` are those of I, B, L and N."""

    @property
    def counts(self):
        return tuple([self.kinds[i] for i in range(4)])

    def append(self, record):
        """Count a Record."""
        cdef Mint mint
        mint.lsn = record.lsn
        mint.kind = "IBLN".index(record.kind)
        self.add(&mint)

    cdef int add(self, const Mint *mint) noexcept nogil:
        self.kinds[mint.kind] += 1
        return Sink.add(self, mint)
