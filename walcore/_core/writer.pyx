"""The writer of one log: producers' frames packed into two halves of a buffer, and what the front door asks for.

A producer measures its record, then packs the frame into the active half under the mutex, taking its LSN there: file
order is LSN order.  lead.pyx has the state and its rules, group.pyx tells who writes and syncs.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

from walcore._core.buffer cimport (
    Half, half_adds, half_content, half_empty, half_fits, half_starts_segment, half_takes_large,
)
from walcore._core.encode cimport (
    CRC_SIZE, FRAME_OVERHEAD, INT_DIGITS_MAX, MINT_FIXED, Mint, int_size, mint_json_size, mint_text_size,
    put_mint_body, put_mint_frame, take_mint,
)
from walcore._core.lead cimport (
    CLOSED, CLOSING, FOR_EVER, NANOSECONDS, NOT_STARTED, OPEN, UNAVAILABLE, WANT_BACK, WANT_FINISH, WANT_PURGE,
    WANT_WRITE,
)
from walcore._core.notify cimport Notify
from walcore._core.platform cimport (
    WALCORE_WAKE_INTERRUPTED, WALCORE_WAKE_TIMED_OUT, pthread_mutex_lock, pthread_mutex_unlock, walcore_now,
    walcore_wake_post, walcore_wake_wait,
)
from walcore._core.rows cimport Rows
from walcore._core.waiters cimport (
    FINISHED, LOOK, LOOP_ENDED, PURGED, SYNCED, WRITTEN, Waiter, append_waiter, post_all, unlink_waiter,
)

from walcore._core.arrays import is_arrow
from walcore._core.columns import Columns, table
from walcore._core.rows import Records
from walcore.errors import WalError, WalFullError

cdef Py_ssize_t FRAME_FIXED_MAX = FRAME_OVERHEAD + MINT_FIXED + 3 * INT_DIGITS_MAX
# Leaves enough above it for any slice that is packed at once.
cdef int64_t LAST_LSN = 0x7FFFFFFFFFFFFFFF - (1 << 31)
# Packing less than this takes no longer than giving the GIL away and taking it back.
cdef Py_ssize_t PACK_WITHOUT_GIL = 32768

CALLS = ("", "write", "fdatasync", "ftruncate", "fstat", "rotate", "finish", "purge")


@cython.final
cdef class Writer(Notify):
    """The compiled half of a log.  All methods may be called from any thread."""

    # --- producers ---------------------------------------------------------------------------------------------------

    def log_mint(self, id, kind, lexical, datatype="", language="", hash=0):
        """Logs one minted value and returns its LSN; `help(walcore.Wal.log_mint)` has the whole of it."""
        cdef Mint mint
        cdef int64_t lsn
        cdef Py_ssize_t size
        if self.loop == NOT_STARTED or self.forked:
            self.ready()
        take_mint(id, kind, lexical, datatype, language, hash, &mint)
        size = FRAME_FIXED_MAX + mint_text_size(&mint)
        if size > self.half_bytes:
            lsn = self.log_large(&mint)
        else:
            pthread_mutex_lock(&self.mutex)
            if not self.has_room(size):
                self.wait_for_room(size)
            lsn = self.pack(&mint)
            self.tell_loop()
            pthread_mutex_unlock(&self.mutex)
        if self.always:
            self.wait(SYNCED, lsn, FOR_EVER, True)
        elif self.loop == UNAVAILABLE:
            self.do_loop_work()
        return lsn

    def log_mint_many(self, ids, kinds=None, lexicals=None, datatypes="", languages="", hashes=0):
        """Logs many values and returns the first and the last LSN; see `help(walcore.Wal.log_mint_many)`."""
        cdef Rows rows
        cdef int64_t first = 0, last = 0
        if self.loop == NOT_STARTED or self.forked:
            self.ready()
        if kinds is None and lexicals is None:
            rows = table(ids) if is_arrow(ids) else Records(ids)
        elif kinds is None or lexicals is None:
            raise TypeError("log_mint_many takes the columns ids, kinds, lexicals, or one iterable of records")
        else:
            rows = Columns(ids, kinds, lexicals, datatypes, languages, hashes)
        try:
            while self.fill(rows):
                last = self.log_slice(rows, &first)
            self.finish_many(last)
        except BaseException as error:
            self.finish_after(error, last)
            raise tell_logged(error, first, last)
        if not first:
            last = self.peek(&self.next_lsn) - 1
            return last + 1, last
        return first, last

    cdef bint fill(self, Rows rows) except -1:
        try:
            return rows.fill(self.half_bytes)
        except Exception as error:
            raise tell_row(error, rows.row)

    cdef int64_t log_slice(self, Rows rows, int64_t *first) except -1:
        """Packs a slice whole, its LSNs in a row; returns the last and sets `first` if it is the first slice."""
        cdef int64_t lsn
        if rows.frame_bytes > self.half_bytes:     # fill lets only a single row be so large
            lsn = self.log_large(&rows.mints[0])
        else:
            pthread_mutex_lock(&self.mutex)
            if not self.has_room(rows.frame_bytes):
                self.wait_for_room(rows.frame_bytes)
            if rows.frame_bytes < PACK_WITHOUT_GIL:
                lsn = self.pack_slice(rows)
                pthread_mutex_unlock(&self.mutex)
            else:
                with nogil:
                    lsn = self.pack_slice(rows)
                    pthread_mutex_unlock(&self.mutex)
        if not first[0]:
            first[0] = lsn - rows.count + 1
        return lsn

    cdef int finish_many(self, int64_t last) except -1:
        """Under ALWAYS nothing of log_mint_many returns before what it logged is on disk."""
        if last and self.always:
            self.wait(SYNCED, last, FOR_EVER, True)
        elif self.loop == UNAVAILABLE:
            self.do_loop_work()
        return 0

    cdef int finish_after(self, object error, int64_t last) except -1:
        """finish_many, where `error` has ended the call already: what else goes wrong must not hide it."""
        try:
            self.finish_many(last)
        except Exception as second:
            error.add_note(f"and what was logged is not known to be on disk: {second}")
        return 0

    cdef int64_t log_large(self, Mint *mint) except -1:
        """Logs a frame that no half holds: escaped here, outside the mutex; its LSN and CRC come later."""
        cdef Py_ssize_t size = MINT_FIXED + 2 * INT_DIGITS_MAX + mint_text_size(mint) + CRC_SIZE
        cdef char *body = <char *>malloc(<size_t>size)
        cdef int64_t lsn
        if body == NULL:
            raise MemoryError
        with nogil:
            size = put_mint_body(body, mint) - body
        pthread_mutex_lock(&self.mutex)
        try:
            if not self.has_room(self.half_bytes):
                self.wait_for_room(self.half_bytes)
        except BaseException:
            free(body)
            raise
        lsn = self.next_lsn
        self.place(FRAME_OVERHEAD + mint_json_size(mint, lsn), mint.id)
        half_takes_large(self.active, lsn, body, size)
        self.next_lsn += 1
        self.after_packing()
        self.want(WANT_WRITE)
        self.tell_loop()
        pthread_mutex_unlock(&self.mutex)
        return lsn

    cdef inline int64_t pack(self, const Mint *mint) noexcept nogil:
        """Mutex held, room there: the record becomes part of the log here."""
        cdef int64_t lsn = self.next_lsn
        cdef Half *half = self.active
        cdef char *frame = half.data + half.used
        cdef Py_ssize_t size = put_mint_frame(frame, lsn, mint) - frame
        self.place(size, mint.id)
        half_adds(half, lsn, size)
        self.next_lsn = lsn + 1
        self.after_packing()
        return lsn

    cdef int64_t pack_slice(self, Rows rows) noexcept nogil:
        cdef Py_ssize_t i
        cdef int64_t lsn = 0
        for i in range(rows.count):
            lsn = self.pack(&rows.mints[i])
        self.tell_loop()
        return lsn

    cdef inline void place(self, Py_ssize_t size, int32_t id) noexcept nogil:
        """Decides whether the frame at the half's end begins a segment, as the original does: when it would take the
        segment over the limit, header included.  The first frame of a segment is in it whatever its size."""
        if self.segment_open and self.segment_bytes + size <= self.max_segment_bytes:
            self.segment_bytes += size
            return
        self.segment_number += 1
        self.segments_due += 1
        self.segment_open = True
        self.segment_bytes = self.header_size + int_size(self.segment_number) + int_size(id) + size
        half_starts_segment(self.active, self.next_lsn, id, self.segment_number)

    cdef inline void after_packing(self) noexcept nogil:
        if self.interval == 0:
            return
        if self.sync_deadline == 0:
            self.sync_deadline = walcore_now() + self.interval
            self.want(WANT_WRITE)
        elif self.active.used >= self.active.size // 2:
            self.want(WANT_WRITE)

    # --- room in the buffer ------------------------------------------------------------------------------------------

    cdef inline bint has_room(self, Py_ssize_t size) noexcept nogil:
        """Mutex held: whether a frame of `size` bytes may be packed now; makes the other half active if that helps."""
        if self.state != OPEN or self.gate or self.room.head != NULL or self.next_lsn > LAST_LSN:
            return False
        return half_fits(self.active, size) or self.swap_for_producer()

    cdef bint swap_for_producer(self) noexcept nogil:
        if not half_empty(self.back):
            return False
        self.active, self.back = self.back, self.active
        self.want(WANT_BACK)
        return True

    cdef int wait_for_room(self, Py_ssize_t size) except -1:
        """Mutex held at entry and when it returns, released when it raises."""
        cdef Waiter *waiter = NULL
        cdef int64_t deadline = FOR_EVER
        cdef int woken
        if self.room_timeout >= 0:
            deadline = walcore_now() + self.room_timeout
        while True:
            if self.state != OPEN:
                self.leave_room(waiter)
                pthread_mutex_unlock(&self.mutex)
                self.refuse()
            if self.next_lsn > LAST_LSN:
                self.leave_room(waiter)
                pthread_mutex_unlock(&self.mutex)
                raise WalFullError("the LSNs are used up: begin a new log")
            if waiter != NULL and waiter.times_full != self.times_full:
                self.leave_room(waiter)
                pthread_mutex_unlock(&self.mutex)
                raise self.full_error()
            if not self.gate and (self.room.head == NULL or self.room.head == waiter):
                if half_fits(self.active, size) or self.swap_for_producer():
                    self.leave_room(waiter)
                    return 0
            if waiter == NULL and self.spare == NULL:
                self.add_waiter()
                continue
            if waiter == NULL:
                self.refuse_leader()
                waiter = self.take_waiter()
                waiter.times_full = self.times_full
                append_waiter(&self.room, waiter)
                continue
            if self.loop == UNAVAILABLE and not self.lead:
                self.take_lead()
                pthread_mutex_unlock(&self.mutex)
                self.serve(WANT_WRITE)
                pthread_mutex_lock(&self.mutex)
                continue
            self.want(WANT_BACK)
            self.tell_loop()
            pthread_mutex_unlock(&self.mutex)
            with nogil:
                woken = walcore_wake_wait(&waiter.wake, deadline, True)
            pthread_mutex_lock(&self.mutex)
            if woken == WALCORE_WAKE_TIMED_OUT:
                self.leave_room(waiter)
                pthread_mutex_unlock(&self.mutex)
                raise WalFullError(f"the buffer stayed full for {self.room_timeout / NANOSECONDS:g} s "
                                   f"(buffer_timeout); nothing was logged")
            if woken == WALCORE_WAKE_INTERRUPTED:
                self.leave_room(waiter)
                waiter = NULL
                pthread_mutex_unlock(&self.mutex)
                PyErr_CheckSignals()
                self.refuse_in_child()      # a signal handler may have forked
                pthread_mutex_lock(&self.mutex)

    cdef void leave_room(self, Waiter *waiter) noexcept nogil:
        """Gives up the place in the queue for room; the next in it looks for itself."""
        if waiter != NULL:
            unlink_waiter(&self.room, waiter)
            self.give_back(waiter)
            self.wake_room()

    # --- waiting -----------------------------------------------------------------------------------------------------

    def commit(self, lsn=None):
        """Waits until `lsn` (None: all that was logged so far) is on disk, except under INTERVAL; returns durable_lsn.
        See `help(walcore.Wal.commit)`."""
        cdef int64_t target
        self.refuse_in_child()
        target = self.peek(&self.next_lsn) - 1 if lsn is None else self.take_lsn(lsn)
        if not self.interval:
            self.wait(SYNCED, target, FOR_EVER, False)
        else:
            self.refuse_unless_open()
        return self.peek(&self.durable_lsn)

    def await_durable(self, lsn, timeout=None):
        """Waits until `lsn` is on disk, for at most `timeout` seconds (None: for ever).
        See `help(walcore.Wal.await_durable)`."""
        self.refuse_in_child()
        self.wait(SYNCED, self.take_lsn(lsn), deadline_of(timeout), False)

    def flush(self):
        """Gives all that was logged so far to the kernel."""
        self.refuse_in_child()
        self.wait(WRITTEN, self.peek(&self.next_lsn) - 1, FOR_EVER, False)

    # --- segments ----------------------------------------------------------------------------------------------------

    def rotate(self):
        """Finishes the segment being written; the next record begins another."""
        cdef int64_t target
        self.refuse_in_child()
        self.refuse_unless_open()
        pthread_mutex_lock(&self.mutex)
        self.segment_open = False
        target = self.finish_target = self.segments_due
        if self.segments_finished < target:
            self.want(WANT_FINISH)
            self.tell_loop()
        pthread_mutex_unlock(&self.mutex)
        self.wait(FINISHED, target, FOR_EVER, False)

    def purge_all(self):
        """Drops all that was logged so far."""
        cdef int64_t target
        self.refuse_in_child()
        if self.loop == NOT_STARTED:
            self.ready()
        pthread_mutex_lock(&self.mutex)
        if self.state != OPEN:
            pthread_mutex_unlock(&self.mutex)
            self.refuse()
        self.purges_due += 1
        target = self.purges_due
        self.want(WANT_PURGE)
        self.tell_loop()
        pthread_mutex_unlock(&self.mutex)
        self.wait(PURGED, target, FOR_EVER, True)      # what was asked for will be done

    # --- the end -----------------------------------------------------------------------------------------------------

    def begin_close(self):
        """From here on nobody logs; producers without an LSN get WalClosedError."""
        cdef Waiter *waiter
        pthread_mutex_lock(&self.mutex)
        if self.state == OPEN:
            self.state = CLOSING
        waiter = self.room.head
        while waiter != NULL:
            walcore_wake_post(&waiter.wake)
            waiter = waiter.next
        pthread_mutex_unlock(&self.mutex)

    def drain_all(self, timeout=None):
        """Waits until all that was logged is on disk, while closing."""
        self.wait(SYNCED, self.peek(&self.next_lsn) - 1, deadline_of(timeout), True)

    def end_loop(self, timeout=None):
        """Asks the loop to return when it has done what is wanted, and waits until it has."""
        cdef int64_t deadline = deadline_of(timeout)
        pthread_mutex_lock(&self.mutex)
        self.loop_exits = True
        self.post_loop()
        pthread_mutex_unlock(&self.mutex)
        self.wait(LOOP_ENDED, 0, deadline, True)

    def end_close(self):
        """After the loop's end: every call that is not answered by what is on disk raises WalClosedError."""
        cdef Waiter *wakes
        pthread_mutex_lock(&self.mutex)
        self.state = CLOSED
        self.fd = -1
        wakes = self.release_everybody(LOOK)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)

    def mark_forked(self):
        """In a forked child: every call raises from now on, and no mutex is touched."""
        self.forked = True

    # --- what can be asked at any time -------------------------------------------------------------------------------

    @property
    def last_lsn(self):
        """The LSN given last; that of the directory's last record if none was given yet (0: none at all)."""
        return self.peek(&self.next_lsn) - 1

    @property
    def written_lsn(self):
        """The highest LSN whose record the kernel has."""
        return self.peek(&self.written_lsn)

    @property
    def durable_lsn(self):
        """The highest LSN whose record is on disk."""
        return self.peek(&self.durable_lsn)

    @property
    def state(self):
        """"open", "closing", "closed" or "failed"."""
        return ("open", "closing", "closed", "failed")[<int>self.current_state()]

    @property
    def file_size(self):
        """Bytes of the file being written that are its own; zeros that were allocated ahead may follow.

        For who has the lead, or when all was drained.
        """
        return self.file_size

    def counters(self):
        """(bytes in the buffer, bytes written, writes, syncs, nanoseconds in syncs, longest sync in nanoseconds)."""
        cdef Py_ssize_t buffered
        cdef int64_t written, writes, syncs, spent, longest
        self.lock()
        buffered = half_content(self.active) + half_content(self.back)
        written, writes, syncs = self.bytes_written, self.writes, self.syncs
        spent, longest = self.sync_nanoseconds, self.sync_nanoseconds_max
        self.unlock()
        return buffered, written, writes, syncs, spent, longest

    def take_unreported_sync(self):
        """Whether the file being written was synced since this was asked last."""
        cdef bint unreported
        pthread_mutex_lock(&self.mutex)
        unreported = self.unreported_sync
        self.unreported_sync = False
        pthread_mutex_unlock(&self.mutex)
        return unreported

    def failure(self):
        """The exception that says why the log failed; None while it has not."""
        if not self.failed_call:
            return None
        error = self.failed_cause
        if error is None:
            error = OSError(self.failed_errno, "")
        return self.control.failed(CALLS[<int>self.failed_call], error, self.peek(&self.durable_lsn))


cdef int64_t deadline_of(timeout) except? -2:
    """The time at which `timeout` seconds from now are over; more than thirty years count as that."""
    if timeout is None:
        return FOR_EVER
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout must be 0 or more seconds, got {timeout}")
    return walcore_now() + <int64_t>(min(<double>timeout, 1e9) * NANOSECONDS)


cdef object tell_row(object error, Py_ssize_t row):
    """Names the row at fault."""
    if hasattr(error, "row"):
        error.row = row
        error.args = (f"row {row}: {error}", *error.args[1:])
        return error
    if isinstance(error, TypeError):
        return TypeError(f"row {row}: {error}")
    return error


cdef object tell_logged(object error, int64_t first, int64_t last):
    """Tells how much of log_mint_many had been logged before it stopped."""
    if first:
        if isinstance(error, WalError):
            error.first_lsn = first
            error.last_lsn = last
        error.add_note(f"logged before this: LSN {first} to {last}")
    return error
