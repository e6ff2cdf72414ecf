"""Frames to the kernel and to the disk: what the lead does without the GIL.

Nothing here allocates, so nothing can fail but the system calls; lead.pyx has the state and its rules.
"""

from libc.errno cimport EDQUOT, EINTR, EIO, ENOENT, ENOSPC, errno
from libc.stdint cimport int64_t
from posix.unistd cimport ftruncate

from walcore._core.buffer cimport (
    Half, half_clear, half_content, half_empty, half_whole_frames, large_finish,
)
from walcore._core.lead cimport (
    AT_SEGMENT_START, BROKEN, CALL_ALLOCATE, CALL_STATUS, CALL_SYNC, CALL_TRUNCATE, CALL_WRITE, DONE, FAILED, FULL,
    WANT_BACK, WANT_FINISH, WANT_REST, WANT_SYNC, WANT_WRITE, Call, Drained, Lead,
)
from walcore._core.platform cimport (
    pthread_mutex_lock, pthread_mutex_unlock, pwrite, walcore_allocate, walcore_begin_writeback, walcore_has_name,
    walcore_now, walcore_sync_data,
)
from walcore._core.waiters cimport DISK_FULL, LOOK, Waiter, post_all

cdef int64_t NO_MORE = 0x7FFFFFFFFFFFFFFF


cdef class Drain(Lead):
    """Writes the back half, and the active one, and syncs."""

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
        if self.preallocate and self.file_size + end - half.written > self.preallocated:
            self.allocate_ahead(self.file_size + end - half.written)
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

    cdef void allocate_ahead(self, int64_t end) noexcept nogil:
        """Before a write up to `end`: room behind it as well, so that the syncs to come find the file's size unchanged.
        What can't be had is left out until the next segment; the write itself tells whether the disk is full."""
        cdef int64_t reach = end + self.preallocate
        cdef int failed
        if reach > self.max_segment_bytes:
            reach = self.max_segment_bytes
        if reach <= end:
            return
        failed = self.call_allocate(reach)
        if failed == 0:
            self.preallocated = reach
        elif failed != EINTR:
            self.preallocated = NO_MORE

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
        self.preallocated = NO_MORE     # a disk that was just full has no room to spare
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

    cdef inline int call_allocate(self, int64_t size) noexcept nogil:
        """Lengthens the file with zeros."""
        if self.replaced:
            return self.replaced_call(CALL_ALLOCATE, size)
        return walcore_allocate(self.fd, self.file_size, size)

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
            elif call == CALL_ALLOCATE:
                self.system.allocate(self.fd, size)
            elif not self.system.fstat(self.fd).st_nlink:
                result = ENOENT
        except BaseException as error:
            result = errno_of(error)
        return result


cdef int errno_of(object error) noexcept:
    """What a call in Python's place would have left in errno; EIO for an exception that says nothing of it."""
    number = getattr(error, "errno", None)
    return number if isinstance(number, int) and number > 0 else EIO
