#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer sees sem_post, sem_wait and sem_timedwait, but not sem_clockwait. */
void __tsan_acquire(void *address);
#define WALCORE_SEEN(address) __tsan_acquire(address)
#else
#define WALCORE_SEEN(address) ((void)(address))
#endif

static const int64_t NANOSECONDS = 1000000000;

int64_t walcore_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NANOSECONDS + now.tv_nsec;
}

int walcore_sync_data(int fd)
{
#ifdef __APPLE__
    /* fsync on macOS leaves the data in the drive's cache: nothing less than F_FULLFSYNC is a sync. */
    return fcntl(fd, F_FULLFSYNC) == -1 ? -1 : 0;
#else
    return fdatasync(fd);
#endif
}

void walcore_begin_writeback(int fd, int64_t offset, int64_t size)
{
#ifdef SYNC_FILE_RANGE_WRITE
    int saved = errno;
    sync_file_range(fd, offset, size, SYNC_FILE_RANGE_WRITE);
    errno = saved;
#else
    (void)fd, (void)offset, (void)size;
#endif
}

int walcore_allocate(int fd, int64_t from, int64_t to)
{
#ifdef __linux__
    return fallocate(fd, 0, from, to - from) == 0 ? 0 : errno;
#else
    (void)fd, (void)from, (void)to;
    return ENOTSUP;
#endif
}

int walcore_has_name(int fd)
{
#ifdef STATX_NLINK
    /* Not asked for its times: Linux (6.13 and newer) gives a file whose times were asked for a new one at the next
     * write, so that its inode goes through the journal with every sync; the room allocated ahead would gain nothing. */
    struct statx found;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_NLINK, &found) == 0)
        return found.stx_nlink > 0;
    if (errno != ENOSYS && errno != EPERM) /* what a sandbox answers that doesn't know the call */
        return -1;
#endif
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -1;
    return status.st_nlink > 0;
}

void walcore_wake_init_fd(walcore_wake *wake, int fd)
{
    wake->fd = fd;
}

void walcore_wake_take_fd(int fd)
{
    uint64_t posts;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (read(fd, &posts, sizeof posts) < 0 && (errno == EAGAIN || errno == EINTR))
        poll(&readable, 1, -1);
}

/* Whether the wake-up is a descriptor, which was written to.  One that is full is about to be read. */
static int posted_to_fd(walcore_wake *wake)
{
    const uint64_t one = 1;
    int saved = errno;
    if (wake->fd < 0)
        return 0;
    while (write(wake->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved;
    return 1;
}

#ifdef WALCORE_WAKE_IS_SEMAPHORE

int walcore_wake_init(walcore_wake *wake)
{
    wake->fd = -1;
    return sem_init(&wake->semaphore, 0, 0);
}

void walcore_wake_destroy(walcore_wake *wake)
{
    sem_destroy(&wake->semaphore);
}

void walcore_wake_post(walcore_wake *wake)
{
    if (!posted_to_fd(wake))
        sem_post(&wake->semaphore);
}

void walcore_wake_reset(walcore_wake *wake)
{
    while (sem_trywait(&wake->semaphore) == 0)
        ;
}

int walcore_wake_wait(walcore_wake *wake, int64_t deadline, int interruptible)
{
    int result;
    do {
        if (deadline < 0) {
            result = sem_wait(&wake->semaphore);
        } else {
            /* sem_timedwait would follow the wall clock, which may jump. */
            struct timespec until = {.tv_sec = (time_t)(deadline / NANOSECONDS),
                                     .tv_nsec = (long)(deadline % NANOSECONDS)};
            result = sem_clockwait(&wake->semaphore, CLOCK_MONOTONIC, &until);
        }
    } while (result != 0 && errno == EINTR && !interruptible);
    if (result == 0) {
        WALCORE_SEEN(&wake->semaphore);
        return WALCORE_WAKE_POSTED;
    }
    return errno == ETIMEDOUT ? WALCORE_WAKE_TIMED_OUT : WALCORE_WAKE_INTERRUPTED;
}

#else

static const int64_t SLICE = 50 * 1000000;

int walcore_wake_init(walcore_wake *wake)
{
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    wake->fd = -1;
    if (failed)
        return failed;
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    failed = pthread_cond_init(&wake->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    if (failed)
        return failed;
    wake->posted = 0;
    failed = pthread_mutex_init(&wake->mutex, NULL);
    if (failed)
        pthread_cond_destroy(&wake->condition);
    return failed;
}

void walcore_wake_destroy(walcore_wake *wake)
{
    pthread_mutex_destroy(&wake->mutex);
    pthread_cond_destroy(&wake->condition);
}

void walcore_wake_post(walcore_wake *wake)
{
    if (posted_to_fd(wake))
        return;
    pthread_mutex_lock(&wake->mutex);
    wake->posted = 1;
    pthread_cond_signal(&wake->condition);
    pthread_mutex_unlock(&wake->mutex);
}

void walcore_wake_reset(walcore_wake *wake)
{
    pthread_mutex_lock(&wake->mutex);
    wake->posted = 0;
    pthread_mutex_unlock(&wake->mutex);
}

/* Waits for a post until `end` on the monotonic clock. */
static void wait_until(walcore_wake *wake, int64_t end)
{
    struct timespec until;
#ifdef __APPLE__
    int64_t left = end - walcore_now();
    if (left <= 0)
        return;
    until.tv_sec = (time_t)(left / NANOSECONDS);
    until.tv_nsec = (long)(left % NANOSECONDS);
    pthread_cond_timedwait_relative_np(&wake->condition, &wake->mutex, &until);
#else
    until.tv_sec = (time_t)(end / NANOSECONDS);
    until.tv_nsec = (long)(end % NANOSECONDS);
    pthread_cond_timedwait(&wake->condition, &wake->mutex, &until);
#endif
}

int walcore_wake_wait(walcore_wake *wake, int64_t deadline, int interruptible)
{
    int result = WALCORE_WAKE_POSTED;
    pthread_mutex_lock(&wake->mutex);
    while (!wake->posted) {
        int64_t now = walcore_now();
        if (deadline >= 0 && now >= deadline) {
            result = WALCORE_WAKE_TIMED_OUT;
            break;
        }
        if (interruptible) {
            int64_t end = now + SLICE;
            wait_until(wake, deadline >= 0 && deadline < end ? deadline : end);
            if (!wake->posted) {
                result = WALCORE_WAKE_INTERRUPTED;
                break;
            }
        } else if (deadline >= 0) {
            wait_until(wake, deadline);
        } else {
            pthread_cond_wait(&wake->condition, &wake->mutex);
        }
    }
    if (result == WALCORE_WAKE_POSTED)
        wake->posted = 0;
    pthread_mutex_unlock(&wake->mutex);
    return result;
}

#endif
