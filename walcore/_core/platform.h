/* The few calls that differ between systems: wake-ups, the monotonic clock, the sync of a file's data. */
#ifndef WALCORE_PLATFORM_H
#define WALCORE_PLATFORM_H

#include <stdint.h>
#include <pthread.h>

#if defined(__GLIBC__) || defined(__linux__)
#include <features.h>
#endif
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 30)
#define WALCORE_WAKE_IS_SEMAPHORE 1
#include <semaphore.h>
#endif

/* A wake-up for one waiting thread.  A post is never lost: one that comes before the wait ends it at once.
 * With glibc a semaphore, since a signal ends its wait; elsewhere a mutex and condition, whose interruptible wait
 * returns every 50 ms so that Ctrl-C is seen (macOS has no unnamed semaphores, musl none on the monotonic clock).
 * An event loop's wake-up is a descriptor that its selector watches; nobody calls walcore_wake_wait for it. */
typedef struct {
    int fd; /* written to in place of the rest; else -1 */
#ifdef WALCORE_WAKE_IS_SEMAPHORE
    sem_t semaphore;
#else
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int posted;
#endif
} walcore_wake;

enum { WALCORE_WAKE_POSTED = 0, WALCORE_WAKE_TIMED_OUT = 1, WALCORE_WAKE_INTERRUPTED = 2 };

int walcore_wake_init(walcore_wake *wake);
/* Makes it a wake-up that writes 8 bytes to `fd`, which doesn't block; needs no walcore_wake_destroy. */
void walcore_wake_init_fd(walcore_wake *wake, int fd);
/* Waits for such a post and takes it from `fd`, the end that is read. */
void walcore_wake_take_fd(int fd);
void walcore_wake_destroy(walcore_wake *wake);
void walcore_wake_post(walcore_wake *wake);
/* Forgets posts that nobody waited for. */
void walcore_wake_reset(walcore_wake *wake);
/* Waits until posted, until `deadline` (nanoseconds of walcore_now; below 0: for ever) or, if `interruptible`, until a
 * signal may have come. */
int walcore_wake_wait(walcore_wake *wake, int64_t deadline, int interruptible);

/* Nanoseconds of the monotonic clock. */
int64_t walcore_now(void);

/* Puts a file's data, and what is needed to read it back, on the disk.  Returns 0, or -1 with errno. */
int walcore_sync_data(int fd);

/* Asks the system to begin bringing what was just written to the disk, so that a sync to come has less to wait for.
 * Promises nothing, and does nothing where there is no such call. */
void walcore_begin_writeback(int fd, int64_t offset, int64_t size);

/* Lengthens an open file from `from` to `to` bytes: zeros, with their place on the disk.  Returns 0 or an errno: ENOTSUP
 * where the system or the file system has no such call.  On an error the file may be longer all the same. */
int walcore_allocate(int fd, int64_t from, int64_t to);

/* 1 if the open file still has a name, 0 if it was deleted, -1 with errno. */
int walcore_has_name(int fd);

#endif
