from libc.stdint cimport int64_t

cdef extern from "platform.h" nogil:
    ctypedef struct walcore_wake:
        pass
    enum:
        WALCORE_WAKE_POSTED
        WALCORE_WAKE_TIMED_OUT
        WALCORE_WAKE_INTERRUPTED
    int walcore_wake_init(walcore_wake *wake)
    void walcore_wake_init_fd(walcore_wake *wake, int fd)
    void walcore_wake_take_fd(int fd)
    void walcore_wake_destroy(walcore_wake *wake)
    void walcore_wake_post(walcore_wake *wake)
    void walcore_wake_reset(walcore_wake *wake)
    int walcore_wake_wait(walcore_wake *wake, int64_t deadline, bint interruptible)
    int64_t walcore_now()
    int walcore_sync_data(int fd)
    void walcore_begin_writeback(int fd, int64_t offset, int64_t size)
    int walcore_allocate(int fd, int64_t start, int64_t end)
    int walcore_has_name(int fd)

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_t:
        pass
    pthread_t pthread_self()
    bint pthread_equal(pthread_t one, pthread_t other)
    int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int fd, const void *data, size_t size, long long offset)
