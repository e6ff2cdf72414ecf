"""What is done with the lead: frames to the kernel and to the disk, segments begun and finished, purges.

Whoever holds the *lead* drains: it alone touches the back half's content, the descriptor and the file's size.  A leader
is a committer, who stops where a segment begins, or the writer loop, which goes on; see group.pyx for who leads when.

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

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.errno cimport EDQUOT, EINTR, EIO, ENOENT, ENOSPC, errno
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free
from posix.unistd cimport ftruncate

from walcore._core.buffer cimport (
    Half, SegmentStart, half_clear, half_content, half_empty, half_free, half_init, half_whole_frames, large_finish,
)
from walcore._core.platform cimport (
    pthread_equal, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, pthread_self,
    pwrite, walcore_begin_writeback, walcore_has_name, walcore_now, walcore_sync_data, walcore_wake_destroy,
    walcore_wake_init, walcore_wake_post,
)
from walcore._core.waiters cimport (
    DISK_FULL, FINISHED, LEADS, LOOK, LOOP_ENDED, PURGED, SYNCED, WRITTEN, post_all, unlink_waiter,
)


cdef class Drain:
    """The state of one log, and the work of the lead.

    `control` is live.Tail: begin, finish, mark_purge and carry_out_purge are called with the lead, start_loop, synced,
    failed and full (which give the exception to raise) without; none of them with the mutex.  `system` is None, or a
    system.CoreCalls to be called in place of C.
    """

    def __cinit__(self, control, *, Py_ssize_t half_bytes, int64_t max_segment_bytes, Py_ssize_t header_size,
                  int64_t next_lsn, int32_t next_number, bint always, int64_t interval, int64_t room_timeout,
                  bint listens, system=None):
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
        cdef bint has_loop = self.loop != UNAVAILABLE and self.loop != ENDED
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

    # --- the drain ---------------------------------------------------------------------------------------------------

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
        return drained

    cdef Drained write_and_sync(self, bint everything, bint sync) noexcept nogil:
        cdef Half *half
        cdef Waiter *wakes
        cdef Drained drained
        cdef int64_t reach = 0
        cdef bint swapped = not everything
        cdef int64_t begin = self.file_size
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
        if sync:
            return self.sync_file(reach)
        if not everything:      # a full half of a long load: the sync at its end has less to wait for
            self.call_writeback(begin)
        return DONE

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
        done = self.call_write(data, end - half.written)
        if done < 0:
            return 0 if done == -EINTR else <int>-done
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
        cdef int failed = self.call_truncate(self.file_size - excess) if excess else 0
        while failed == EINTR:
            failed = self.call_truncate(self.file_size - excess)
        if failed:
            return self.break_down(CALL_TRUNCATE, failed)
        self.file_size -= excess
        half.written = whole
        self.full_errno = error
        return FULL

    cdef Drained sync_file(self, int64_t reach) noexcept nogil:
        """Puts all that was written on disk and acknowledges it.  A sync that failed is never tried again: the kernel
        may have dropped what it could not write and would call the next one a success."""
        cdef Waiter *wakes
        cdef int64_t began
        cdef int64_t took
        # Asked before the sync, not after: whoever wakes from it finds cold caches, and a commit is 3 % slower.
        cdef int failed = self.call_status()
        if failed:
            return self.fail(CALL_STATUS, failed)
        began = walcore_now()
        failed = self.call_sync()
        if failed:
            return self.fail(CALL_SYNC, failed)
        took = walcore_now() - began
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

    # --- system calls: C's, or those of `system` in a test; they return an errno, 0 for none --------------------------

    cdef inline ssize_t call_write(self, const char *data, Py_ssize_t size) noexcept nogil:
        """At the file's end; returns how many bytes were written, or -errno."""
        cdef ssize_t done
        if self.replaced:
            return self.replaced_write(data, size)
        done = pwrite(self.fd, data, <size_t>size, self.file_size)
        return done if done >= 0 else -errno

    cdef inline int call_sync(self) noexcept nogil:
        if self.replaced:
            return self.replaced_call(CALL_SYNC, 0)
        return errno if walcore_sync_data(self.fd) != 0 else 0

    cdef inline int call_truncate(self, int64_t size) noexcept nogil:
        if self.replaced:
            return self.replaced_call(CALL_TRUNCATE, size)
        return errno if ftruncate(self.fd, size) != 0 else 0

    cdef inline int call_status(self) noexcept nogil:
        """ENOENT if the file has no name any more."""
        cdef int named
        if self.replaced:
            return self.replaced_call(CALL_STATUS, 0)
        named = walcore_has_name(self.fd)
        return errno if named < 0 else 0 if named else ENOENT

    cdef inline void call_writeback(self, int64_t begin) noexcept nogil:
        if not self.replaced:       # it promises nothing, so there is nothing to replace
            walcore_begin_writeback(self.fd, begin, self.file_size - begin)

    # No except clause here returns: Cython would drop the traceback unseen, and where memory ran out there is none.

    cdef ssize_t replaced_write(self, const char *data, Py_ssize_t size) noexcept with gil:
        cdef ssize_t result
        try:
            result = self.system.pwrite(self.fd, data[:size], self.file_size)
        except BaseException as error:
            result = -errno_of(error)
        return result

    cdef int replaced_call(self, Call call, int64_t size) noexcept with gil:
        cdef int result = 0
        try:
            if call == CALL_SYNC:
                self.system.fdatasync(self.fd)
            elif call == CALL_TRUNCATE:
                self.system.ftruncate(self.fd, size)
            elif not self.system.fstat(self.fd).st_nlink:
                result = ENOENT
        except BaseException as error:
            result = errno_of(error)
        return result

    cdef void tell_synced(self) noexcept:
        self.control.synced()

    # --- steps of the control plane, never a committer's -------------------------------------------------------------

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
            what |= wants(waiter.need)
            if waiter.need == FINISHED and waiter.target > finish_target:
                finish_target = waiter.target
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
        if self.listens:
            self.tell_synced()
        return drained

    cdef Drained stumble(self, Call call, object error) noexcept:
        """An exception of the control plane: a full disk can be tried again, but for a directory's sync (`call` is
        fsync), whose names may be lost; anything else fails the log."""
        cdef Waiter *wakes
        cdef Drained drained = BROKEN
        full = isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT)
        if full and getattr(error, "call", "") != "fsync":
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
        cdef int fd = -1
        cdef int64_t size = 0
        if self.fd >= 0 and self.written_lsn > self.durable_lsn:
            with nogil:
                drained = self.sync_file(self.written_lsn)
            if drained != DONE:
                return drained
        try:
            fd, size = self.control.begin(start.number, start.first_id, start.lsn - 1)
        except BaseException as error:
            drained = self.stumble(CALL_BEGIN, error)
        if drained != DONE:
            return drained
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
        cdef Drained drained = DONE
        cdef Waiter *wakes
        if self.fd >= 0 and self.segments_begun <= target:
            self.fd = -1        # whatever comes of it, the number may be another file's from here on
            try:
                self.control.finish(self.written_lsn)
            except BaseException as error:
                drained = self.stumble(CALL_FINISH, error)
        if drained != DONE:
            return drained
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
        cdef bint failed = False
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
            failed = True
        if failed:
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
            failed = True
        if failed:
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
        self.purges_refused = upto
        waiter = self.waiters.head
        while waiter != NULL:
            following = waiter.next
            if waiter.need == PURGED and waiter.target <= upto:
                wakes = self.release(wakes, waiter, LOOK)
            waiter = following
        self.wake_room()
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)


cdef int errno_of(object error) noexcept:
    """What a call in Python's place would have left in errno; EIO for an exception that says nothing of it."""
    number = getattr(error, "errno", None)
    return number if isinstance(number, int) and number > 0 else EIO
