"""The writer of one log: producers' frames packed into two halves of a buffer, written and synced in groups.

Who does what.  A producer packs its frame into the active half under the mutex, taking its LSN there: file order is LSN
order.  Whoever holds the *lead* drains: it alone touches the back half's content, the descriptor and the file's size.
The first committer takes the lead; those who come meanwhile queue, each with a wake-up of its own, and at the end the
leader wakes those whom its sync covers and hands the lead to the first of the rest.  The writer loop (`run`, on a
thread that the control plane starts) takes the lead for what nobody waits for: a full half, the interval, timed waits,
and the steps that need the control plane: beginning a segment, finishing one, a purge.

State, all under `mutex` unless said otherwise:
    active, back        the halves: producers fill `active`; `back` is empty or is drained by the lead
    lead                somebody drains; with `loop_leads` it was handed to the loop, which hasn't woken yet
    wanted              what the loop is asked for (WANT_*)
    waiters, room       queues: for an LSN or a step of the control plane; for room in the buffer
    next_lsn, written_lsn, durable_lsn
    segment_*           where the next frame falls, as if all frames before it were written
    fd, file_size       the lead's only: the file being written, and the bytes of it that are whole or being written

Rules that keep it free of deadlocks and races:
    - the mutex is never held while the GIL is taken; between lock and unlock no Python object is touched;
    - nothing in the drain allocates, so nothing in it can fail but the system calls;
    - a waiter's struct is only given back by its owner, under the mutex, and after its post was taken when one is due;
    - the first failure sticks: after it nothing is written, synced or acknowledged.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EDQUOT, EINTR, EIO, ENOENT, ENOSPC, errno
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from posix.unistd cimport ftruncate

from walcore._core.buffer cimport (
    Half, SegmentStart, half_adds, half_clear, half_content, half_empty, half_fits, half_free, half_init,
    half_starts_segment, half_takes_large, half_whole_frames, large_finish,
)
from walcore._core.encode cimport (
    CRC_SIZE, FRAME_OVERHEAD, INT_DIGITS_MAX, MINT_FIXED, Mint, int_size, mint_json_size, mint_text_size,
    put_mint_body, put_mint_frame, take_mint,
)
from walcore._core.platform cimport (
    WALCORE_WAKE_INTERRUPTED, WALCORE_WAKE_POSTED, WALCORE_WAKE_TIMED_OUT, walcore_has_name, walcore_now,
    walcore_sync_data, walcore_wake, walcore_wake_destroy, walcore_wake_init, walcore_wake_post, walcore_wake_reset,
    walcore_wake_wait,
)
from walcore._core.rows cimport Rows

from walcore._core.rows import Columns, Records
from walcore.errors import WalClosedError, WalError, WalFullError, WalTimeoutError


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int fd, const void *data, size_t size, long long offset)


cdef enum State:
    OPEN
    CLOSING             # no more records; those who wait are served
    CLOSED
    FAILED

cdef enum Loop:
    NOT_STARTED
    RUNNING             # or about to: what it is asked for now it will see
    UNAVAILABLE         # no thread may start here: callers do its work
    ENDED

cdef enum Need:
    SYNCED              # durable_lsn reaches the target
    WRITTEN             # written_lsn does
    FINISHED            # so many segments were finished
    PURGED              # so many purges were done

cdef enum Outcome:
    NOTHING             # still queued
    LOOK                # what was waited for may be there, or can't come any more
    LEADS               # the lead is yours
    DISK_FULL
    REFUSED             # the purge that was asked for was not begun

cdef enum Want:
    WANT_BACK = 1       # write the back half
    WANT_WRITE = 2      # write everything
    WANT_SYNC = 4
    WANT_REST = 8       # a leader stopped where a segment begins
    WANT_FINISH = 16
    WANT_PURGE = 32
    CONTROL_WORK = 8 | 16 | 32

cdef enum Drained:
    DONE
    AT_SEGMENT_START
    FULL
    BROKEN

cdef struct Waiter:
    walcore_wake wake
    Waiter *next
    Waiter *previous
    Waiter *sibling     # all that were ever made, for the end
    Need need
    int64_t target
    bint may_lead
    Outcome outcome
    int64_t times_full  # when a producer began to wait for room

cdef struct Queue:
    Waiter *head
    Waiter *tail

cdef Py_ssize_t FRAME_FIXED_MAX = FRAME_OVERHEAD + MINT_FIXED + 3 * INT_DIGITS_MAX
# Packing less than this takes no longer than giving the GIL away and taking it back.
cdef Py_ssize_t PACK_WITHOUT_GIL = 32768
cdef int64_t FOR_EVER = -1
cdef int64_t NANOSECONDS = 1000000000

CALLS = ("", "write", "fdatasync", "ftruncate", "fstat", "rotate", "finish", "purge")

cdef enum Call:
    CALL_NONE
    CALL_WRITE
    CALL_SYNC
    CALL_TRUNCATE
    CALL_STATUS
    CALL_BEGIN
    CALL_FINISH
    CALL_PURGE


cdef inline void append_waiter(Queue *queue, Waiter *waiter) noexcept nogil:
    waiter.next = NULL
    waiter.previous = queue.tail
    if queue.tail == NULL:
        queue.head = waiter
    else:
        queue.tail.next = waiter
    queue.tail = waiter


cdef inline void unlink_waiter(Queue *queue, Waiter *waiter) noexcept nogil:
    if waiter.previous == NULL:
        queue.head = waiter.next
    else:
        waiter.previous.next = waiter.next
    if waiter.next == NULL:
        queue.tail = waiter.previous
    else:
        waiter.next.previous = waiter.previous


cdef inline void post_all(Waiter *chain) noexcept nogil:
    """Wakes a chain of waiters that were unlinked under the mutex; each may be gone as soon as it is posted."""
    cdef Waiter *following
    while chain != NULL:
        following = chain.next
        walcore_wake_post(&chain.wake)
        chain = following


@cython.final
cdef class Writer:
    """The compiled half of a log.  All methods may be called from any thread.

    `control` is live.Tail: begin, finish, mark_purge and carry_out_purge are called with the lead, start_loop, synced,
    failed and full (which give the exception to raise) without; none of them with the mutex.
    """

    cdef pthread_mutex_t mutex
    cdef bytearray first_bytes, second_bytes
    cdef Half[2] halves
    cdef Py_ssize_t half_bytes
    cdef Half *active
    cdef Half *back

    cdef State state
    cdef Loop loop
    cdef bint forked
    cdef bint lead
    cdef bint loop_leads
    cdef bint loop_exits
    cdef bint loop_posted
    cdef bint gate              # a purge is on: nobody packs
    cdef int wanted
    cdef walcore_wake loop_wake
    cdef Queue waiters
    cdef Queue room
    cdef Waiter *spare
    cdef Waiter *all_waiters

    cdef int64_t next_lsn
    cdef int64_t written_lsn
    cdef int64_t durable_lsn

    cdef bint segment_open      # the next frame may go into the segment of the one before
    cdef int64_t segment_bytes
    cdef int32_t segment_number
    cdef Py_ssize_t header_size     # of a segment header but for its two numbers
    cdef int64_t max_segment_bytes
    cdef int64_t segments_due   # how many segments frames were packed for, were begun, were finished
    cdef int64_t segments_begun
    cdef int64_t segments_finished
    cdef int64_t finish_target
    cdef int64_t purges_due
    cdef int64_t purges_done

    cdef int fd
    cdef int64_t file_size

    cdef bint always            # log_mint waits until its record is on disk
    cdef int64_t interval       # nanoseconds; 0: commit waits
    cdef int64_t sync_deadline  # 0: nothing was logged that no sync covers or has begun to
    cdef int64_t room_timeout   # nanoseconds; FOR_EVER
    cdef bint listens
    cdef bint unreported_sync

    cdef Call failed_call
    cdef int failed_errno
    cdef int64_t times_full
    cdef int full_errno         # of the last full disk, where a write met it
    cdef object full_cause      # else the exception of the control plane
    cdef object failed_cause
    cdef object purge_refusal
    cdef object control

    cdef int64_t lead_bytes     # the lead's only, until it publishes them
    cdef int64_t lead_writes
    cdef int64_t bytes_written
    cdef int64_t writes
    cdef int64_t syncs
    cdef int64_t sync_nanoseconds
    cdef int64_t sync_nanoseconds_max

    def __cinit__(self, control, *, Py_ssize_t half_bytes, int64_t max_segment_bytes, Py_ssize_t header_size,
                  int64_t next_lsn, int32_t next_number, bint always, int64_t interval, int64_t room_timeout,
                  bint listens):
        self.fd = -1
        self.control = control
        pthread_mutex_init(&self.mutex, NULL)
        walcore_wake_init(&self.loop_wake)
        self.first_bytes = bytearray(half_bytes)
        self.second_bytes = bytearray(half_bytes)
        self.half_bytes = half_bytes
        self.active = &self.halves[0]
        self.back = &self.halves[1]
        if (half_init(self.active, PyByteArray_AS_STRING(self.first_bytes), half_bytes)
                or half_init(self.back, PyByteArray_AS_STRING(self.second_bytes), half_bytes)):
            raise MemoryError
        self.max_segment_bytes = max_segment_bytes
        self.header_size = header_size
        self.next_lsn = next_lsn
        self.written_lsn = self.durable_lsn = next_lsn - 1
        self.segment_number = next_number - 1
        self.always = always
        self.interval = interval
        self.room_timeout = room_timeout
        self.listens = listens

    def __dealloc__(self):
        cdef Waiter *waiter
        while self.all_waiters != NULL:
            waiter = self.all_waiters
            self.all_waiters = waiter.sibling
            walcore_wake_destroy(&waiter.wake)
            free(waiter)
        half_free(&self.halves[0])
        half_free(&self.halves[1])
        walcore_wake_destroy(&self.loop_wake)
        pthread_mutex_destroy(&self.mutex)

    # --- what can be asked at any time ---------------------------------------------------------------------------

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

    cdef inline void lock(self) noexcept nogil:
        if not self.forked:     # in a child the mutex may be held by a thread that isn't there
            pthread_mutex_lock(&self.mutex)

    cdef inline void unlock(self) noexcept nogil:
        if not self.forked:
            pthread_mutex_unlock(&self.mutex)

    cdef int64_t peek(self, const int64_t *field) noexcept nogil:
        cdef int64_t value
        self.lock()
        value = field[0]
        self.unlock()
        return value

    cdef State current_state(self) noexcept nogil:
        cdef State state
        self.lock()
        state = self.state
        self.unlock()
        return state

    # --- producers -----------------------------------------------------------------------------------------------

    def log_mint(self, id, kind, lexical, datatype="", language="", hash=0):
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
            self.wait(SYNCED, lsn, FOR_EVER, False)
        elif self.loop == UNAVAILABLE:
            self.do_loop_work()
        return lsn

    def log_mint_many(self, ids, kinds=None, lexicals=None, datatypes="", languages="", hashes=0):
        cdef Rows rows
        cdef int64_t first = 0, last = 0
        if self.loop == NOT_STARTED or self.forked:
            self.ready()
        if kinds is None and lexicals is None:
            rows = Records(ids)
        elif kinds is None or lexicals is None:
            raise TypeError("log_mint_many takes the columns ids, kinds, lexicals, or one iterable of records")
        else:
            rows = Columns(ids, kinds, lexicals, datatypes, languages, hashes)
        try:
            while self.fill(rows):
                last = self.log_slice(rows, &first)
        except BaseException as error:
            self.finish_many(last)
            raise tell_logged(error, first, last)
        self.finish_many(last)
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
            self.wait(SYNCED, last, FOR_EVER, False)
        elif self.loop == UNAVAILABLE:
            self.do_loop_work()
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
        cdef char *end
        self.place(FRAME_OVERHEAD + mint_json_size(mint, lsn), mint.id)
        end = put_mint_frame(frame, lsn, mint)
        half_adds(half, lsn, end - frame)
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
        """Decides whether the coming frame begins a segment, as the original does: when it would take the segment over
        the limit, header included.  The first frame of a segment is in it whatever its size."""
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

    cdef inline bint has_room(self, Py_ssize_t size) noexcept nogil:
        """Mutex held: whether a frame of `size` bytes may be packed now; makes the other half active if that helps."""
        if self.state != OPEN or self.gate or self.room.head != NULL:
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
            if waiter != NULL and waiter.times_full != self.times_full:
                self.leave_room(waiter)
                pthread_mutex_unlock(&self.mutex)
                raise self.full_error()
            if not self.gate and (self.room.head == NULL or self.room.head == waiter):
                if half_fits(self.active, size) or self.swap_for_producer():
                    self.leave_room(waiter)
                    return 0
            if waiter == NULL:
                waiter = self.take_waiter()
                waiter.times_full = self.times_full
                append_waiter(&self.room, waiter)
                continue
            if self.loop == UNAVAILABLE and not self.lead:
                self.lead = True
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
                pthread_mutex_lock(&self.mutex)

    cdef void leave_room(self, Waiter *waiter) noexcept nogil:
        """Gives up the place in the queue for room; the next in it looks for itself."""
        if waiter != NULL:
            unlink_waiter(&self.room, waiter)
            self.give_back(waiter)
            self.wake_room()

    cdef inline void wake_room(self) noexcept nogil:
        if self.room.head != NULL:
            walcore_wake_post(&self.room.head.wake)

    # --- waiting -------------------------------------------------------------------------------------------------

    cdef inline bint reached(self, Need need, int64_t target) noexcept nogil:
        if need == SYNCED:
            return self.durable_lsn >= target
        if need == WRITTEN:
            return self.written_lsn >= target
        if need == FINISHED:
            return self.segments_finished >= target
        return self.purges_done >= target

    cdef int wait(self, Need need, int64_t target, int64_t deadline, bint closes) except -1:
        """Returns when `target` is reached; leads if it may.  Who waits with a deadline never leads while there is a
        loop, and nobody but the loop takes the steps that need the control plane."""
        cdef bint queued = closes
        cdef Outcome outcome
        pthread_mutex_lock(&self.mutex)
        while not self.reached(need, target):
            if self.state == FAILED or self.state == CLOSED or (self.state == CLOSING and not queued):
                pthread_mutex_unlock(&self.mutex)
                self.refuse()
            if not self.lead and self.may_lead(need, deadline):
                self.lead = True
                outcome = LEADS
            else:
                queued = True
                outcome = self.queue_up(need, target, deadline)     # releases the mutex when it raises
            if outcome == LEADS:
                pthread_mutex_unlock(&self.mutex)
                outcome = self.lead_for(need)
                pthread_mutex_lock(&self.mutex)
            if outcome == DISK_FULL:
                pthread_mutex_unlock(&self.mutex)
                raise self.full_error()
            if outcome == REFUSED:
                pthread_mutex_unlock(&self.mutex)
                raise self.purge_refusal
        pthread_mutex_unlock(&self.mutex)
        return 0

    cdef inline bint may_lead(self, Need need, int64_t deadline) noexcept nogil:
        if self.loop == UNAVAILABLE or self.loop == ENDED:
            return True
        return deadline == FOR_EVER and (need == SYNCED or need == WRITTEN) and not self.wanted & CONTROL_WORK

    cdef Outcome lead_for(self, Need need) except? REFUSED:
        """Drains with the lead held, for a caller that waits for `need`."""
        cdef Drained drained
        if self.loop == UNAVAILABLE or self.loop == ENDED:
            drained = self.serve(WANT_SYNC if need != WRITTEN else WANT_WRITE)
        else:
            drained = self.drain(True, need == SYNCED, False)
            self.end_lead()
        return DISK_FULL if drained == FULL else LOOK

    cdef Outcome queue_up(self, Need need, int64_t target, int64_t deadline) except? REFUSED:
        """Waits in the queue once.  Mutex held at entry and when it returns, released when it raises."""
        cdef Waiter *waiter = self.take_waiter()
        cdef Waiter *wakes = NULL
        cdef Outcome outcome
        cdef int64_t durable
        cdef int woken
        waiter.need = need
        waiter.target = target
        waiter.may_lead = self.may_lead(need, deadline) or (deadline == FOR_EVER and need <= WRITTEN)
        waiter.outcome = NOTHING
        append_waiter(&self.waiters, waiter)
        if not self.lead:
            self.want(WANT_SYNC if need == SYNCED else WANT_WRITE)
            self.tell_loop()
        pthread_mutex_unlock(&self.mutex)
        with nogil:
            woken = walcore_wake_wait(&waiter.wake, deadline, True)
        pthread_mutex_lock(&self.mutex)
        outcome = waiter.outcome
        if outcome == NOTHING:
            unlink_waiter(&self.waiters, waiter)
        elif woken != WALCORE_WAKE_POSTED:
            # Whoever unlinked us is about to post: the struct can't be given back before.
            pthread_mutex_unlock(&self.mutex)
            with nogil:
                walcore_wake_wait(&waiter.wake, FOR_EVER, False)
            pthread_mutex_lock(&self.mutex)
        self.give_back(waiter)
        if woken == WALCORE_WAKE_POSTED:
            return outcome
        if outcome == LEADS:
            wakes = self.hand_over()
            outcome = LOOK
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        if woken == WALCORE_WAKE_INTERRUPTED:
            PyErr_CheckSignals()
        pthread_mutex_lock(&self.mutex)
        if woken == WALCORE_WAKE_TIMED_OUT and not self.reached(need, target) and self.state != FAILED:
            durable = self.durable_lsn
            pthread_mutex_unlock(&self.mutex)
            raise WalTimeoutError(f"LSN {target} was not on disk in time; durable up to {durable}, "
                                  f"the rest stays logged", durable_lsn=durable)
        return outcome if outcome != NOTHING else LOOK

    cdef Waiter *take_waiter(self) except NULL:
        """Mutex held at entry and when it returns, released when it raises."""
        cdef Waiter *waiter = self.spare
        if waiter != NULL:
            self.spare = waiter.next
            walcore_wake_reset(&waiter.wake)
            return waiter
        pthread_mutex_unlock(&self.mutex)
        waiter = <Waiter *>calloc(1, sizeof(Waiter))
        if waiter == NULL:
            raise MemoryError
        walcore_wake_init(&waiter.wake)
        pthread_mutex_lock(&self.mutex)
        waiter.sibling = self.all_waiters
        self.all_waiters = waiter
        return waiter

    cdef inline void give_back(self, Waiter *waiter) noexcept nogil:
        waiter.next = self.spare
        self.spare = waiter

    cdef Waiter *release(self, Waiter *chain, Waiter *waiter, Outcome outcome) noexcept nogil:
        """Takes a waiter out of the queue, to be posted after the mutex was let go."""
        unlink_waiter(&self.waiters, waiter)
        waiter.outcome = outcome
        waiter.next = chain
        return waiter

    cdef Waiter *release_reached(self, Waiter *chain) noexcept nogil:
        cdef Waiter *waiter = self.waiters.head
        cdef Waiter *following
        while waiter != NULL:
            following = waiter.next
            if self.reached(waiter.need, waiter.target):
                chain = self.release(chain, waiter, LOOK)
            waiter = following
        return chain

    cdef Waiter *release_everybody(self, Outcome outcome) noexcept nogil:
        """For a failure or a full disk: every waiter looks again, and so does every producer without room."""
        cdef Waiter *chain = NULL
        cdef Waiter *waiter
        while self.waiters.head != NULL:
            chain = self.release(chain, self.waiters.head, outcome)
        waiter = self.room.head
        while waiter != NULL:
            walcore_wake_post(&waiter.wake)
            waiter = waiter.next
        return chain

    # --- the lead ------------------------------------------------------------------------------------------------

    cdef inline void want(self, int what) noexcept nogil:
        self.wanted |= what

    cdef inline void tell_loop(self) noexcept nogil:
        """Mutex held: wakes the loop if it is wanted and nobody leads; who leads hands over at the end."""
        if self.wanted and not self.lead:
            self.post_loop()

    cdef void post_loop(self) noexcept nogil:
        if not self.loop_posted:
            self.loop_posted = True
            walcore_wake_post(&self.loop_wake)

    cdef Waiter *hand_over(self) noexcept nogil:
        """Mutex and lead held: passes the lead to the loop if the control plane is needed, else to the first who may
        lead, else to the loop if it is wanted.  Returns whom to post."""
        cdef Waiter *waiter = self.waiters.head
        cdef bint has_loop = self.loop != UNAVAILABLE and self.loop != ENDED
        if self.state == FAILED:
            self.lead = False
            return NULL
        if not (has_loop and self.wanted & CONTROL_WORK):
            while waiter != NULL and has_loop and not waiter.may_lead:
                waiter = waiter.next
            if waiter != NULL:
                return self.release(NULL, waiter, LEADS)
        if self.waiters.head != NULL:
            self.want(WANT_SYNC)
        if has_loop and self.wanted:
            self.loop_leads = True
            self.post_loop()
            return NULL
        self.lead = False
        self.wake_room()
        return NULL

    cdef void end_lead(self) noexcept:
        cdef Waiter *wakes
        pthread_mutex_lock(&self.mutex)
        wakes = self.hand_over()
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)

    cdef Drained drain(self, bint everything, bint sync, bint begins) noexcept:
        """Writes the back half, with `everything` the active one too, and syncs on demand.  Lead held, mutex not.
        Where a segment begins it goes on if it `begins` segments, else leaves the rest to the loop."""
        cdef Drained drained
        while True:
            with nogil:
                drained = self.write_and_sync(everything, sync)
            if drained != AT_SEGMENT_START:
                break
            if not begins:
                pthread_mutex_lock(&self.mutex)
                self.want(WANT_REST)
                pthread_mutex_unlock(&self.mutex)
                break
            drained = self.begin_segment()
            if drained != DONE:
                break
        if self.listens:
            self.tell_synced()
        return drained

    cdef Drained write_and_sync(self, bint everything, bint sync) noexcept nogil:
        cdef Half *half
        cdef Waiter *wakes
        cdef Drained drained
        cdef int64_t reach = 0
        cdef bint swapped = not everything
        pthread_mutex_lock(&self.mutex)
        while True:
            if half_empty(self.back):
                if swapped:
                    break
                swapped = True
                self.wanted &= ~(WANT_BACK | WANT_WRITE)
                if sync:        # what is logged from here on is not covered: it arms the next interval
                    self.wanted &= ~WANT_SYNC
                    self.sync_deadline = 0
                if half_empty(self.active):
                    break
                self.active, self.back = self.back, self.active
                self.wake_room()
            half = self.back
            pthread_mutex_unlock(&self.mutex)
            drained = self.write_half(half, &reach)
            pthread_mutex_lock(&self.mutex)
            self.bytes_written = self.lead_bytes
            self.writes = self.lead_writes
            if reach > self.written_lsn:
                self.written_lsn = reach
            if drained != DONE:
                wakes = self.note_stop(drained)
                pthread_mutex_unlock(&self.mutex)
                post_all(wakes)
                return drained
            half_clear(half)
            self.wake_room()
        reach = self.written_lsn
        wakes = NULL if sync else self.release_reached(NULL)
        sync = sync and reach > self.durable_lsn
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        return self.sync_file(reach) if sync else DONE

    cdef Waiter *note_stop(self, Drained drained) noexcept nogil:
        """Mutex held: what a drain that did not get through means for those who wait."""
        if drained == AT_SEGMENT_START:
            return self.release_reached(NULL)
        if drained == FULL:
            self.times_full += 1
            self.wanted &= ~(WANT_BACK | WANT_WRITE | WANT_SYNC | WANT_REST | WANT_FINISH)
            if self.interval:
                self.sync_deadline = walcore_now() + self.interval
            return self.release_everybody(DISK_FULL)
        self.state = FAILED
        return self.release_everybody(LOOK)

    cdef Drained write_half(self, Half *half, int64_t *reach) noexcept nogil:
        """Writes up to where the next segment begins, else to the end; `reach` is the LSN of the last whole frame."""
        cdef bint segment_begins = half.starts_done < half.starts_used
        cdef Py_ssize_t end = half.starts[half.starts_done].offset if segment_begins else half_content(half)
        cdef int error = 0
        while half.written < end and not error:
            error = self.write_some(half, end)
        if error == ENOSPC or error == EDQUOT:
            return self.cut_to_whole_frames(half, reach, error)
        if error:
            return self.break_down(CALL_WRITE, error)
        if segment_begins:
            reach[0] = half.starts[half.starts_done].lsn - 1
            return AT_SEGMENT_START
        reach[0] = half.last_lsn
        return DONE

    cdef int write_some(self, Half *half, Py_ssize_t end) noexcept nogil:
        """One call of write; returns 0 or errno.  A short write and EINTR go on at the byte reached."""
        cdef char *data = half.data + half.written
        cdef ssize_t done
        if half.large.body != NULL:
            if half.written == 0:
                large_finish(&half.large)
            if half.written < half.large.head_size:
                data = half.large.head + half.written
                end = half.large.head_size
            else:
                data = half.large.body + (half.written - half.large.head_size)
        done = pwrite(self.fd, data, <size_t>(end - half.written), self.file_size)
        if done < 0:
            return 0 if errno == EINTR else errno
        if done == 0:
            return EIO
        self.lead_writes += 1
        self.lead_bytes += done
        half.written += done
        self.file_size += done
        return 0

    cdef Drained cut_to_whole_frames(self, Half *half, int64_t *reach, int error) noexcept nogil:
        """After a full disk: the file ends with its last whole frame, where the next drain goes on."""
        cdef Py_ssize_t whole = half_whole_frames(half, half.written, reach)
        cdef Py_ssize_t excess = half.written - whole
        while excess and ftruncate(self.fd, self.file_size - excess) != 0:
            if errno != EINTR:
                return self.break_down(CALL_TRUNCATE, errno)
        self.file_size -= excess
        half.written = whole
        self.full_errno = error
        return FULL

    cdef Drained sync_file(self, int64_t reach) noexcept nogil:
        """Puts all that was written on disk and acknowledges it.  A sync that failed is never tried again: the kernel
        may have dropped what it could not write and would call the next one a success."""
        cdef Waiter *wakes
        cdef int64_t began = walcore_now()
        cdef int64_t took
        cdef int named
        if walcore_sync_data(self.fd) != 0:
            return self.fail(CALL_SYNC, errno)
        took = walcore_now() - began
        named = walcore_has_name(self.fd)
        if named <= 0:
            return self.fail(CALL_STATUS, ENOENT if named == 0 else errno)
        pthread_mutex_lock(&self.mutex)
        self.syncs += 1
        self.sync_nanoseconds += took
        if took > self.sync_nanoseconds_max:
            self.sync_nanoseconds_max = took
        self.unreported_sync = True
        self.durable_lsn = reach
        wakes = self.release_reached(NULL)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        return DONE

    cdef Drained break_down(self, Call call, int error) noexcept nogil:
        """Remembers the first failure, for whoever notes it."""
        self.failed_call = call
        self.failed_errno = error
        return BROKEN

    cdef Drained fail(self, Call call, int error) noexcept nogil:
        cdef Waiter *wakes
        self.break_down(call, error)
        pthread_mutex_lock(&self.mutex)
        wakes = self.note_stop(BROKEN)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        return BROKEN

    # --- steps of the control plane: the lead held, never by a committer --------------------------------------------

    cdef Drained serve(self, int what) noexcept:
        """Does all that is wanted, the control plane's steps included, and hands the lead over.  Never raises: what
        goes wrong fails the log, is a full disk, or refuses the purge."""
        cdef Drained drained = DONE
        cdef Waiter *waiter
        cdef int64_t finish_target
        pthread_mutex_lock(&self.mutex)
        what |= self.wanted
        self.wanted = 0
        finish_target = self.finish_target
        waiter = self.waiters.head
        while waiter != NULL:
            what |= WANT_WRITE if waiter.need == WRITTEN else WANT_SYNC
            waiter = waiter.next
        if self.state == FAILED:
            what = 0
        pthread_mutex_unlock(&self.mutex)
        if what & WANT_PURGE:
            self.purge()
        if what & ~WANT_PURGE and self.state != FAILED:
            drained = self.drain((what & ~WANT_BACK) != 0, (what & (WANT_SYNC | WANT_FINISH | WANT_PURGE)) != 0, True)
            if what & WANT_FINISH and drained == DONE:
                drained = self.finish_segment(finish_target)
        self.end_lead()
        return drained

    cdef Drained stumble(self, Call call, object error) noexcept:
        """An exception of the control plane: a full disk can be tried again, anything else fails the log."""
        cdef Waiter *wakes
        cdef Drained drained = BROKEN
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
            self.full_cause = error
            self.full_errno = 0
            drained = FULL
        else:
            self.failed_cause = error
            self.failed_call = call
        pthread_mutex_lock(&self.mutex)
        wakes = self.note_stop(drained)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        return drained

    cdef Drained begin_segment(self) noexcept:
        """The old file's sync, only then the next one's name; only then is anything of it acknowledged."""
        cdef Drained drained = DONE
        cdef Waiter *wakes
        cdef SegmentStart start = self.back.starts[self.back.starts_done]
        cdef int fd
        cdef int64_t size
        if self.fd >= 0 and self.written_lsn > self.durable_lsn:
            with nogil:
                drained = self.sync_file(self.written_lsn)
            if drained != DONE:
                return drained
        try:
            fd, size = self.control.begin(start.number, start.first_id, start.lsn - 1)
        except BaseException as error:
            return self.stumble(CALL_BEGIN, error)
        pthread_mutex_lock(&self.mutex)
        self.fd = fd
        self.file_size = size
        self.segments_finished = self.segments_begun
        self.segments_begun += 1
        self.back.starts_done += 1
        wakes = self.release_reached(NULL)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        return DONE

    cdef Drained finish_segment(self, int64_t target) noexcept:
        """Finishes the file being written, unless the segment that was to be finished already is."""
        cdef Waiter *wakes
        if self.fd >= 0 and self.segments_begun <= target:
            try:
                self.control.finish(self.written_lsn)
            except BaseException as error:
                return self.stumble(CALL_FINISH, error)
            self.fd = -1
        pthread_mutex_lock(&self.mutex)
        if self.fd < 0:
            self.segments_finished = self.segments_begun
        wakes = self.release_reached(NULL)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
        return DONE

    cdef void purge(self) noexcept:
        """Drops all that was logged before.  Producers wait meanwhile, so its place among the LSNs is here."""
        cdef int64_t upto, last
        cdef int32_t number = 0
        cdef Waiter *wakes
        pthread_mutex_lock(&self.mutex)
        self.gate = True
        upto = self.purges_due
        last = self.next_lsn - 1
        pthread_mutex_unlock(&self.mutex)
        try:
            self.control.mark_purge(last + 1)
        except BaseException as error:
            if getattr(error, "in_doubt", True):
                self.fail_purge(error)
            else:
                self.refuse_purge(upto, error)
            return
        pthread_mutex_lock(&self.mutex)
        half_clear(self.active)
        half_clear(self.back)
        self.segment_open = False
        self.sync_deadline = 0
        self.wanted &= ~WANT_REST
        pthread_mutex_unlock(&self.mutex)
        self.fd = -1
        try:
            number = self.control.carry_out_purge()
        except BaseException as error:
            self.fail_purge(error)
            return
        pthread_mutex_lock(&self.mutex)
        self.segment_number = number - 1
        self.segments_finished = self.segments_begun = self.segments_due
        self.written_lsn = self.durable_lsn = last
        self.purges_done = upto
        self.gate = False
        wakes = self.release_reached(NULL)
        self.wake_room()
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)

    cdef void fail_purge(self, object error) noexcept:
        """Whether the old records are gone can't be told: not even a full disk can be tried again."""
        self.failed_cause = error
        with nogil:
            self.fail(CALL_PURGE, 0)

    cdef void refuse_purge(self, int64_t upto, object error) noexcept:
        """The marker could not be made: the log is as it was, and those who asked are told."""
        cdef Waiter *waiter
        cdef Waiter *following
        cdef Waiter *wakes = NULL
        self.purge_refusal = error
        pthread_mutex_lock(&self.mutex)
        self.gate = False
        waiter = self.waiters.head
        while waiter != NULL:
            following = waiter.next
            if waiter.need == PURGED and waiter.target <= upto:
                wakes = self.release(wakes, waiter, REFUSED)
            waiter = following
        self.wake_room()
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self):
        """The writer loop: returns when `end_loop` asked for it and nothing is wanted."""
        cdef bint due
        cdef int64_t deadline
        pthread_mutex_lock(&self.mutex)
        while True:
            deadline = self.sync_deadline
            due = deadline != 0 and not self.wanted & WANT_SYNC and walcore_now() >= deadline
            if due:
                self.want(WANT_SYNC)
            if self.wanted & WANT_SYNC or deadline == 0 or self.state == FAILED:
                deadline = FOR_EVER
            if self.loop_leads or (self.wanted and not self.lead and self.state != FAILED):
                self.loop_leads = False
                self.lead = True
                pthread_mutex_unlock(&self.mutex)
                self.serve(0)
                pthread_mutex_lock(&self.mutex)
                continue
            if self.loop_exits and not self.lead:
                break
            self.loop_posted = False
            pthread_mutex_unlock(&self.mutex)
            with nogil:
                walcore_wake_wait(&self.loop_wake, deadline, False)
            pthread_mutex_lock(&self.mutex)
        self.loop = ENDED
        pthread_mutex_unlock(&self.mutex)

    cdef int ready(self) except -1:
        """Before the first record: a thread for the loop, where one may start."""
        cdef Waiter *wakes = NULL
        cdef bint first
        self.refuse_in_child()
        pthread_mutex_lock(&self.mutex)
        first = self.loop == NOT_STARTED and self.state == OPEN
        if first:
            self.loop = RUNNING
        pthread_mutex_unlock(&self.mutex)
        if not first:
            return 0
        try:
            self.control.start_loop()
        except RuntimeError:
            pthread_mutex_lock(&self.mutex)
            self.loop = UNAVAILABLE
            wakes = self.release_everybody(LOOK)
            pthread_mutex_unlock(&self.mutex)
            post_all(wakes)
        return 0

    cdef int do_loop_work(self) except -1:
        """Where there is no loop: what it is wanted for, in the caller's thread."""
        pthread_mutex_lock(&self.mutex)
        if self.sync_deadline and walcore_now() >= self.sync_deadline:
            self.want(WANT_SYNC)
        if self.lead or not self.wanted or self.state != OPEN:
            pthread_mutex_unlock(&self.mutex)
            return 0
        self.lead = True
        pthread_mutex_unlock(&self.mutex)
        self.serve(0)
        return 0

    # --- what the front door asks for --------------------------------------------------------------------------------

    def commit(self, lsn=None):
        """Waits until `lsn` (None: all that was logged so far) is on disk, but under INTERVAL; returns durable_lsn."""
        cdef int64_t target
        self.refuse_in_child()
        target = self.peek(&self.next_lsn) - 1 if lsn is None else self.take_lsn(lsn)
        if not self.interval:
            self.wait(SYNCED, target, FOR_EVER, False)
        else:
            self.refuse_unless_open()
        return self.peek(&self.durable_lsn)

    def await_durable(self, lsn, timeout=None):
        """Waits until `lsn` is on disk, for at most `timeout` seconds (None: for ever)."""
        self.refuse_in_child()
        self.wait(SYNCED, self.take_lsn(lsn), deadline_of(timeout), False)

    def flush(self):
        """Gives all that was logged so far to the kernel."""
        self.refuse_in_child()
        self.wait(WRITTEN, self.peek(&self.next_lsn) - 1, FOR_EVER, False)

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
        self.refuse_unless_open()
        pthread_mutex_lock(&self.mutex)
        self.purges_due += 1
        target = self.purges_due
        self.want(WANT_PURGE)
        self.tell_loop()
        pthread_mutex_unlock(&self.mutex)
        self.wait(PURGED, target, FOR_EVER, False)

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

    def end_loop(self):
        """Asks the loop to return when it has done what is wanted."""
        pthread_mutex_lock(&self.mutex)
        self.loop_exits = True
        self.post_loop()
        pthread_mutex_unlock(&self.mutex)

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

    def take_unreported_sync(self):
        """Whether the file being written was synced since this was asked last."""
        cdef bint unreported
        pthread_mutex_lock(&self.mutex)
        unreported = self.unreported_sync
        self.unreported_sync = False
        pthread_mutex_unlock(&self.mutex)
        return unreported

    cdef void tell_synced(self) noexcept:
        self.control.synced()

    # --- refusing ------------------------------------------------------------------------------------------------

    cdef int64_t take_lsn(self, lsn) except -1:
        cdef int64_t last = self.peek(&self.next_lsn) - 1
        if type(lsn) is not int and (isinstance(lsn, bool) or not hasattr(lsn, "__index__")):
            raise TypeError(f"lsn must be an int, not {type(lsn).__name__}")
        if not 1 <= lsn <= last:
            raise ValueError(f"lsn must be from 1 to last_lsn ({last}), got {lsn}")
        return lsn

    cdef int refuse_in_child(self) except -1:
        if self.forked:
            raise WalClosedError("this log was opened by the parent process: a forked child must open its own")
        return 0

    cdef int refuse_unless_open(self) except -1:
        if self.current_state() != OPEN:
            self.refuse()
        return 0

    cdef int refuse(self) except -1:
        """Raises what the state demands; mutex not held."""
        cdef State state = self.current_state()
        if state == FAILED:
            raise self.failure()
        raise WalClosedError("the log is closing" if state == CLOSING else "the log is closed")

    cdef object full_error(self):
        return self.control.full(OSError(self.full_errno, "") if self.full_errno else self.full_cause)

    def failure(self):
        """The exception that says why the log failed; None while it has not."""
        if not self.failed_call:
            return None
        error = self.failed_cause
        if error is None:
            error = OSError(self.failed_errno, "")
        return self.control.failed(CALLS[<int>self.failed_call], error, self.peek(&self.durable_lsn))


cdef int64_t deadline_of(timeout) except? -2:
    """The time at which `timeout` seconds from now are over."""
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
