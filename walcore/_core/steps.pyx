"""What the lead does with the control plane: segments begun and finished, purges; never a committer's work.

It has the GIL and lets it go to write.  What goes wrong here fails the log, is a full disk, or refuses a purge.
"""

from libc.errno cimport EDQUOT, ENOSPC
from libc.stdint cimport int32_t, int64_t

from walcore._core.buffer cimport SegmentStart, half_clear
from walcore._core.drain cimport Drain
from walcore._core.lead cimport (
    AT_SEGMENT_START, BROKEN, CALL_BEGIN, CALL_FINISH, CALL_PURGE, DONE, FAILED, FULL, WANT_BACK, WANT_FINISH,
    WANT_PURGE, WANT_REST, WANT_SYNC, Call, Drained, wants,
)
from walcore._core.platform cimport pthread_mutex_lock, pthread_mutex_unlock
from walcore._core.waiters cimport FINISHED, LOOK, PURGED, Waiter, post_all


cdef class Steps(Drain):
    """The drain where segments begin in it, and the steps that are asked for."""

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
                self.want(WANT_REST | (WANT_SYNC if sync else 0))   # the sync asked for covers the rest as well
                pthread_mutex_unlock(&self.mutex)
                break
            drained = self.begin_segment()
            if drained != DONE:
                break
        return drained

    cdef void tell_synced(self) noexcept:
        self.control.synced()

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
        self.file_size = self.preallocated = size
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
