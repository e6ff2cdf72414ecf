"""Who waits, for what, and how he is woken: queues of structs that live as long as the log."""

from libc.stdint cimport int64_t

from walcore._core.platform cimport walcore_wake, walcore_wake_post


cdef enum Need:
    SYNCED              # durable_lsn reaches the target
    WRITTEN             # written_lsn does
    FINISHED            # so many segments were finished
    PURGED              # so many purges were done
    LOOP_ENDED          # the loop does not run (any more)

cdef enum Outcome:
    NOTHING             # still queued
    LOOK                # what was waited for may be there, or can't come any more
    LEADS               # the lead is yours
    DISK_FULL

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
