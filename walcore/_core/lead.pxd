"""The state of a log that is written; see lead.pyx."""

from libc.stdint cimport int32_t, int64_t

from walcore._core.buffer cimport Half
from walcore._core.platform cimport pthread_mutex_t, pthread_t, walcore_wake
from walcore._core.waiters cimport FINISHED, PURGED, SYNCED, WRITTEN, Need, Outcome, Queue, Waiter


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

cdef enum Call:
    CALL_NONE
    CALL_WRITE
    CALL_SYNC
    CALL_TRUNCATE
    CALL_STATUS
    CALL_BEGIN
    CALL_FINISH
    CALL_PURGE
    CALL_ALLOCATE

cdef enum:
    NANOSECONDS = 1000000000
    FOR_EVER = -1


cdef inline int wants(Need need) noexcept nogil:
    """What the loop has to do for somebody who waits."""
    if need == SYNCED:
        return WANT_SYNC
    if need == WRITTEN:
        return WANT_WRITE
    if need == FINISHED:
        return WANT_FINISH
    return WANT_PURGE if need == PURGED else 0


cdef class Lead:
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
    cdef bint lead_known        # by `lead_thread`; not while the lead is on its way to the next
    cdef pthread_t lead_thread
    cdef bint loop_leads
    cdef bint loop_exits
    cdef bint loop_posted
    cdef bint loop_runs
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
    cdef int64_t purges_refused

    cdef int fd
    cdef int64_t file_size
    cdef int64_t preallocated   # bytes that it has, of which those behind file_size are zeros
    cdef int64_t preallocate    # bytes that it gets ahead at a time; 0: none

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
    cdef object system          # None, or what is called in place of C: `replaced`
    cdef bint replaced

    cdef int64_t lead_bytes     # the lead's only, until it publishes them
    cdef int64_t lead_writes
    cdef int64_t bytes_written
    cdef int64_t writes
    cdef int64_t syncs
    cdef int64_t sync_nanoseconds
    cdef int64_t sync_nanoseconds_max

    cdef void lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil
    cdef int64_t peek(self, const int64_t *field) noexcept nogil
    cdef State current_state(self) noexcept nogil
    cdef bint has_loop(self) noexcept nogil
    cdef void post_loop(self) noexcept nogil
    cdef void tell_loop(self) noexcept nogil
    cdef void wake_room(self) noexcept nogil
    cdef bint reached(self, Need need, int64_t target) noexcept nogil
    cdef void give_back(self, Waiter *waiter) noexcept nogil
    cdef Waiter *release(self, Waiter *chain, Waiter *waiter, Outcome outcome) noexcept nogil
    cdef Waiter *release_reached(self, Waiter *chain) noexcept nogil
    cdef Waiter *release_everybody(self, Outcome outcome) noexcept nogil
    cdef void take_lead(self) noexcept nogil
    cdef bint leads_itself(self) noexcept nogil
    cdef Waiter *hand_over(self) noexcept nogil
    cdef void drop_lead(self) noexcept nogil
    cdef void end_lead(self) noexcept
    cdef void want(self, int what) noexcept nogil
