"""Group commit: who waits, works.

The first committer takes the lead and drains in his own thread; those who come meanwhile queue, each with a wake-up of
his own, and at the end the leader wakes those whom its sync covers and hands the lead to the first of the rest.  The
writer loop (`run`, on a thread that the control plane starts) takes the lead for what nobody waits for: a full half,
the interval, timed waits, and the steps that need the control plane.  Where no thread may start, callers do its work.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc

from walcore._core.lead cimport (
    CLOSED, CLOSING, CONTROL_WORK, ENDED, FAILED, FOR_EVER, FULL, NOT_STARTED, OPEN, RUNNING, UNAVAILABLE, WANT_SYNC,
    WANT_WRITE, Drained, State, wants,
)
from walcore._core.platform cimport (
    WALCORE_WAKE_INTERRUPTED, WALCORE_WAKE_POSTED, WALCORE_WAKE_TIMED_OUT, pthread_mutex_lock, pthread_mutex_unlock,
    walcore_now, walcore_wake_init, walcore_wake_reset, walcore_wake_wait,
)
from walcore._core.steps cimport Steps
from walcore._core.waiters cimport (
    DISK_FULL, LEADS, LOOK, LOOP_ENDED, NOTHING, PURGED, SYNCED, WRITTEN, append_waiter, post_all, unlink_waiter,
)

from walcore.errors import WalClosedError, WalError, WalTimeoutError


cdef class GroupCommit(Steps):
    """Waiting for what the lead does, and the loop."""

    cdef int wait(self, Need need, int64_t target, int64_t deadline, bint closes) except -1:
        """Returns when `target` is reached; leads if it may.  Who waits with a deadline never leads while there is a
        loop, and nobody but the loop takes the steps that need the control plane."""
        cdef bint queued = closes
        cdef bint syncs
        cdef Outcome outcome
        pthread_mutex_lock(&self.mutex)
        while not self.reached(need, target):
            if need == PURGED and self.purges_refused >= target:
                pthread_mutex_unlock(&self.mutex)
                raise self.purge_refusal
            if need != LOOP_ENDED and (
                    self.state == FAILED or self.state == CLOSED or (self.state == CLOSING and not queued)):
                pthread_mutex_unlock(&self.mutex)
                self.refuse()
            queued = True
            if not self.lead and self.may_lead(need, deadline):
                outcome = LEADS
            elif self.spare == NULL:
                self.add_waiter()       # lets the mutex go: what was looked at has to be looked at again
                continue
            else:
                outcome = self.queue_up(need, target, deadline)     # releases the mutex when it raises
            if outcome == LEADS:
                self.take_lead()
                syncs = need == SYNCED or self.wanted & WANT_SYNC
                pthread_mutex_unlock(&self.mutex)
                outcome = self.lead_for(need, syncs)
                pthread_mutex_lock(&self.mutex)
            if outcome == DISK_FULL:
                pthread_mutex_unlock(&self.mutex)
                raise self.full_error()
        pthread_mutex_unlock(&self.mutex)
        return 0

    cdef inline bint may_lead(self, Need need, int64_t deadline) noexcept nogil:
        if not self.has_loop():
            return True
        return deadline == FOR_EVER and (need == SYNCED or need == WRITTEN) and not self.wanted & CONTROL_WORK

    cdef Outcome lead_for(self, Need need, bint syncs) except? DISK_FULL:
        """Drains with the lead held, for a caller that waits for `need`."""
        cdef Drained drained
        if not self.has_loop():
            drained = self.serve(WANT_SYNC if need != WRITTEN else WANT_WRITE)
        else:
            drained = self.drain(True, syncs, False)
            self.end_lead()
            if self.listens:
                self.control.synced()
        return DISK_FULL if drained == FULL else LOOK

    cdef Outcome queue_up(self, Need need, int64_t target, int64_t deadline) except? DISK_FULL:
        """Waits in the queue once.  Mutex held at entry and when it returns, released when it raises."""
        cdef Waiter *waiter
        cdef Waiter *wakes = NULL
        cdef Outcome outcome
        cdef int64_t durable
        cdef int woken
        self.refuse_leader()
        waiter = self.take_waiter()
        waiter.need = need
        waiter.target = target
        waiter.may_lead = self.may_lead(need, deadline) or (deadline == FOR_EVER and need <= WRITTEN)
        waiter.outcome = NOTHING
        append_waiter(&self.waiters, waiter)
        if not self.lead:
            self.want(wants(need))
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
            self.refuse_in_child()      # a signal handler may have forked
        pthread_mutex_lock(&self.mutex)
        if woken == WALCORE_WAKE_TIMED_OUT and not self.reached(need, target) and self.state != FAILED:
            durable = self.durable_lsn
            pthread_mutex_unlock(&self.mutex)
            raise WalTimeoutError(f"LSN {target} was not on disk in time; durable up to {durable}, "
                                  f"the rest stays logged", durable_lsn=durable)
        return outcome if outcome != NOTHING else LOOK

    cdef inline Waiter *take_waiter(self) noexcept nogil:
        """One of those that add_waiter made."""
        cdef Waiter *waiter = self.spare
        self.spare = waiter.next
        walcore_wake_reset(&waiter.wake)
        return waiter

    cdef int add_waiter(self) except -1:
        """Mutex held at entry and when it returns, let go in between; released when it raises."""
        cdef Waiter *waiter
        pthread_mutex_unlock(&self.mutex)
        waiter = <Waiter *>calloc(1, sizeof(Waiter))
        if waiter == NULL:
            raise MemoryError
        walcore_wake_init(&waiter.wake)
        pthread_mutex_lock(&self.mutex)
        waiter.sibling = self.all_waiters
        self.all_waiters = waiter
        self.give_back(waiter)
        return 0

    cdef int refuse_leader(self) except -1:
        """Mutex held; released when it raises."""
        if self.leads_itself():
            pthread_mutex_unlock(&self.mutex)
            raise WalError("this thread is writing the log, so a finalizer or signal handler that ran in it can't wait "
                           "for it; what has an LSN stays logged")
        return 0

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self):
        """The writer loop: returns when `end_loop` asked for it and nothing is wanted."""
        cdef bint due
        cdef int64_t deadline
        cdef Waiter *wakes
        pthread_mutex_lock(&self.mutex)
        if self.loop_runs:      # a start that was interrupted was begun again
            pthread_mutex_unlock(&self.mutex)
            return
        self.loop_runs = True
        self.loop = RUNNING
        while True:
            deadline = self.sync_deadline
            due = deadline != 0 and not self.wanted & WANT_SYNC and walcore_now() >= deadline
            if due:
                self.want(WANT_SYNC)
            if self.wanted & WANT_SYNC or deadline == 0 or self.state == FAILED:
                deadline = FOR_EVER
            if self.loop_leads or (self.wanted and not self.lead and self.state != FAILED):
                self.loop_leads = False
                self.take_lead()
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
        wakes = self.release_reached(NULL)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)

    @property
    def loop_runs(self):
        """Whether `run` was entered; it stays so."""
        cdef bint runs
        pthread_mutex_lock(&self.mutex)
        runs = self.loop_runs
        pthread_mutex_unlock(&self.mutex)
        return runs

    cdef int ready(self) except -1:
        """Before the first record: a thread for the loop, where one may start."""
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
            self.give_up_loop(UNAVAILABLE)
        except BaseException:
            self.give_up_loop(NOT_STARTED)
            raise
        return 0

    cdef void give_up_loop(self, Loop loop) noexcept:
        """The thread was not started, as far as can be known: everybody looks for himself, and nobody waits for it."""
        cdef Waiter *wakes = NULL
        pthread_mutex_lock(&self.mutex)
        if not self.loop_runs:
            self.loop = loop
            if self.loop_leads:
                self.loop_leads = self.lead = False
            wakes = self.release_everybody(LOOK)
        pthread_mutex_unlock(&self.mutex)
        post_all(wakes)

    cdef int do_loop_work(self) except -1:
        """Where there is no loop: what it is wanted for, in the caller's thread."""
        pthread_mutex_lock(&self.mutex)
        if self.sync_deadline and walcore_now() >= self.sync_deadline:
            self.want(WANT_SYNC)
        if self.lead or not self.wanted or self.state != OPEN:
            pthread_mutex_unlock(&self.mutex)
            return 0
        self.take_lead()
        pthread_mutex_unlock(&self.mutex)
        self.serve(0)
        return 0

    # --- refusing ----------------------------------------------------------------------------------------------------

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
