"""Waiting without a thread that sleeps: what an event loop needs.

A loop has one Bell, however many of its tasks wait: a descriptor that its selector watches, and a waiter in the queue
that never leads, so the sync that it waits for is made elsewhere.  Whoever would post the waiter writes to the
descriptor, and the loop's thread looks once at how far the disk is.
"""

cimport cython
from libc.stdint cimport int64_t
from posix.unistd cimport close

from walcore._core.group cimport GroupCommit
from walcore._core.lead cimport CLOSED, CLOSING, FAILED, FOR_EVER, NOT_STARTED, WANT_SYNC, State
from walcore._core.platform cimport (
    pthread_mutex_lock, pthread_mutex_unlock, walcore_wake_init_fd, walcore_wake_take_fd,
)
from walcore._core.waiters cimport NOTHING, SYNCED, Waiter, append_waiter, unlink_waiter

import os


cdef class Notify(GroupCommit):
    """What a task asks before and after it waited for its loop's bell."""

    def begin_commit(self, lsn):
        """What to wait for, until `lsn` (None: all that was logged so far) is on disk: the LSN, and how often the disk
        was full before; None if nothing.  Raises what `commit` does."""
        self.refuse_in_child()
        return self.look(self.peek(&self.next_lsn) - 1 if lsn is None else self.take_lsn(lsn), 0, False)

    def begin_wait(self, lsn):
        """The same for `await_durable`."""
        self.refuse_in_child()
        return self.look(self.take_lsn(lsn), 0, False)

    def go_on_waiting(self, int64_t target, int64_t times_full):
        """The same for a wait that was begun: one that a closing log still serves, and that a full disk ends."""
        self.refuse_in_child()
        return self.look(target, times_full, True)

    cdef object look(self, int64_t target, int64_t times_full, bint begun):
        cdef State state
        cdef int64_t times
        cdef bint reached
        pthread_mutex_lock(&self.mutex)
        reached = self.durable_lsn >= target
        state = self.state
        times = self.times_full
        pthread_mutex_unlock(&self.mutex)
        if reached:
            return None
        if state == FAILED or state == CLOSED or (state == CLOSING and not begun):
            self.refuse()
        if begun and times != times_full:
            raise self.full_error()
        return target, times

    cdef int64_t take_lsn(self, lsn) except -1:
        cdef int64_t last = self.peek(&self.next_lsn) - 1
        if type(lsn) is not int and (isinstance(lsn, bool) or not hasattr(lsn, "__index__")):
            raise TypeError(f"lsn must be an int, not {type(lsn).__name__}")
        if not 1 <= lsn <= last:
            raise ValueError(f"lsn must be from 1 to last_lsn ({last}), got {lsn}")
        return lsn


@cython.final
@cython.no_gc_clear
cdef class Bell:
    """Rings once for each `ask`.  All methods are called by the loop's thread, or where the loop runs no more."""

    cdef Notify log         # no_gc_clear keeps it: the waiter must leave its queue
    cdef Waiter waiter
    cdef bint asked         # from `ask` to `take`: the waiter is queued, or its post is due
    cdef bint made          # the descriptors are: without it, 0 is none of ours
    cdef int ear            # what the selector watches
    cdef int clapper        # what is written to, the same where there is eventfd

    def __cinit__(self, Notify log not None):
        self.ear = self.clapper = -1
        self.made = True
        self.log = log
        if hasattr(os, "eventfd"):
            self.ear = self.clapper = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.ear, self.clapper = os.pipe()
            os.set_blocking(self.ear, False)
            os.set_blocking(self.clapper, False)
        walcore_wake_init_fd(&self.waiter.wake, self.clapper)

    def __dealloc__(self):
        if self.made:
            self.leave()
            self.close_descriptors()

    def fileno(self):
        """The descriptor to be watched for reading; -1 after `close`."""
        return self.ear

    def ask(self, int64_t target):
        """Has the log synced by another thread, and rings when `target` is on disk or nobody may wait for it any more;
        returns True if that is so already.  Where the log has no thread of its own, this one syncs, and that takes
        long."""
        cdef Notify log = self.log
        cdef bint settled
        if self.asked:
            return False
        if log.forked or self.ear < 0:
            return True
        if log.loop == NOT_STARTED:     # its start was cut short, and another thread had logged meanwhile
            log.ready()
        pthread_mutex_lock(&log.mutex)
        settled = log.reached(SYNCED, target) or log.state == FAILED or log.state == CLOSED
        if not settled and log.has_loop():
            self.asked = True
            self.waiter.need = SYNCED
            self.waiter.target = target
            self.waiter.may_lead = False
            self.waiter.outcome = NOTHING
            append_waiter(&log.waiters, &self.waiter)
            if not log.lead:
                log.want(WANT_SYNC)
                log.tell_loop()
        pthread_mutex_unlock(&log.mutex)
        if not settled and not self.asked:
            try:
                log.wait(SYNCED, target, FOR_EVER, True)
            except Exception:   # who waits is told by go_on_waiting
                pass
            settled = True
        return settled

    def take(self):
        """Durable_lsn, after a ring or after `ask` returned True; the bell may be asked for again."""
        if self.asked and not self.log.forked and not self.is_queued():
            self.take_post()
        return self.log.peek(&self.log.durable_lsn)

    def close(self):
        """Waits for nothing any more and closes the descriptors; in a forked child, its copies of them."""
        self.leave()
        self.close_descriptors()

    cdef bint is_queued(self) noexcept nogil:
        cdef bint queued
        pthread_mutex_lock(&self.log.mutex)
        queued = self.waiter.outcome == NOTHING
        pthread_mutex_unlock(&self.log.mutex)
        return queued

    cdef void take_post(self) noexcept:
        """Whoever took the waiter out of the queue is about to post: it can't be queued again before."""
        with nogil:
            walcore_wake_take_fd(self.ear)
        self.asked = False

    cdef void leave(self) noexcept:
        cdef Notify log = self.log
        cdef bint queued
        if not self.asked or log.forked:    # the parent goes on with the queue, and its post is the parent's
            return
        pthread_mutex_lock(&log.mutex)
        queued = self.waiter.outcome == NOTHING
        if queued:
            unlink_waiter(&log.waiters, &self.waiter)
        pthread_mutex_unlock(&log.mutex)
        if not queued:
            self.take_post()
        self.asked = False

    cdef void close_descriptors(self) noexcept:
        if self.clapper != self.ear:
            close(self.clapper)
        if self.ear >= 0:
            close(self.ear)
        self.ear = self.clapper = -1
