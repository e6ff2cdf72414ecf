"""The state of one log under its mutex: who waits, who leads, and how the lead changes hands.

Whoever holds the *lead* drains: it alone touches the back half's content, the descriptor and the file's size.  A leader
is a committer, who stops where a segment begins, or the writer loop, which goes on; see group.pyx for who leads when,
drain.pyx for what is written, steps.pyx for what takes the control plane.

State, all under `mutex` unless said otherwise:
    active, back        the halves: producers fill `active`; `back` is empty or is drained by the lead
    lead                somebody drains; with `loop_leads` it was handed to the loop, which hasn't woken yet
    wanted              what the loop is asked for (WANT_*)
    waiters, room       queues: for an LSN or a step of the control plane; for room in the buffer
    next_lsn, written_lsn, durable_lsn
    segment_*           where the next frame falls, as if all frames before it were written
    fd, file_size       the lead's only: the file being written, and the bytes of it that are whole or being written
    preallocated        the lead's only: the bytes that the file has, zeros behind file_size included

Rules that keep it free of deadlocks and races:
    - the mutex is never held while the GIL is taken; between lock and unlock no Python object is touched;
    - nothing in the drain allocates, so nothing in it can fail but the system calls;
    - a waiter's struct is only given back by its owner, under the mutex, and after its post was taken when one is due;
    - the first failure sticks: after it nothing is written, synced or acknowledged.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free

from walcore._core.buffer cimport half_free, half_init
from walcore._core.platform cimport (
    pthread_equal, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, pthread_self,
    walcore_wake_destroy, walcore_wake_init, walcore_wake_post,
)
from walcore._core.waiters cimport (
    FINISHED, LEADS, LOOK, LOOP_ENDED, PURGED, SYNCED, WRITTEN, post_all, unlink_waiter,
)


cdef class Lead:
    """What the classes above it work on.

    `control` is live.Tail: begin, finish, mark_purge and carry_out_purge are called with the lead, start_loop, synced,
    failed and full (which give the exception to raise) without; none of them with the mutex.  `system` is None, or a
    system.CoreCalls to be called in place of C.
    """

    def __cinit__(self, control, *, Py_ssize_t half_bytes, int64_t max_segment_bytes, Py_ssize_t header_size,
                  int64_t next_lsn, int32_t next_number, bint always, int64_t interval, int64_t room_timeout,
                  bint listens, int64_t preallocate=0, system=None):
        self.fd = -1
        self.control = control
        self.system = system
        self.replaced = system is not None
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
        self.preallocate = preallocate

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

    # --- who waits; the mutex held -----------------------------------------------------------------------------------

    cdef inline bint reached(self, Need need, int64_t target) noexcept nogil:
        if need == SYNCED:
            return self.durable_lsn >= target
        if need == WRITTEN:
            return self.written_lsn >= target
        if need == FINISHED:
            return self.segments_finished >= target
        if need == PURGED:
            return self.purges_done >= target
        return self.loop != RUNNING

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

    cdef inline void wake_room(self) noexcept nogil:
        if self.room.head != NULL:
            walcore_wake_post(&self.room.head.wake)

    # --- the lead changes hands --------------------------------------------------------------------------------------

    cdef inline void want(self, int what) noexcept nogil:
        self.wanted |= what

    cdef inline void tell_loop(self) noexcept nogil:
        """Mutex held: wakes the loop if it is wanted and nobody leads; who leads hands over at the end."""
        if self.wanted and not self.lead:
            self.post_loop()

    cdef inline bint has_loop(self) noexcept nogil:
        """Else callers do the loop's work."""
        return self.loop != UNAVAILABLE and self.loop != ENDED

    cdef void post_loop(self) noexcept nogil:
        if not self.loop_posted:
            self.loop_posted = True
            walcore_wake_post(&self.loop_wake)

    cdef void take_lead(self) noexcept nogil:
        self.lead = True
        self.lead_known = True
        self.lead_thread = pthread_self()

    cdef bint leads_itself(self) noexcept nogil:
        """Whether this very thread leads: a finalizer or signal handler that ran in it must not wait for it."""
        return self.lead and self.lead_known and pthread_equal(self.lead_thread, pthread_self())

    cdef Waiter *hand_over(self) noexcept nogil:
        """Mutex and lead held: passes the lead to the loop if the control plane is needed, else to the first who may
        lead, else to the loop if it is wanted.  Returns whom to post."""
        cdef Waiter *waiter = self.waiters.head
        cdef bint has_loop = self.has_loop()
        cdef bint waited_for = False
        self.lead_known = False
        if self.state == FAILED:
            self.drop_lead()
            return NULL
        if not (has_loop and self.wanted & CONTROL_WORK):
            while waiter != NULL and has_loop and not waiter.may_lead:
                waited_for = waited_for or waiter.need != LOOP_ENDED
                waiter = waiter.next
            if waiter != NULL:
                return self.release(NULL, waiter, LEADS)
        if waited_for:
            self.want(WANT_SYNC)
        if has_loop and self.wanted:
            self.loop_leads = True
            self.post_loop()
            return NULL
        self.drop_lead()
        self.wake_room()
        return NULL

    cdef inline void drop_lead(self) noexcept nogil:
        self.lead = False
        if self.loop_exits:     # it may have been woken for that while somebody led, and sleeps again
            self.post_loop()

    cdef void end_lead(self) noexcept:
        cdef Waiter *wakes
        pthread_mutex_lock(&self.mutex)
        wakes = self.hand_over()
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)
