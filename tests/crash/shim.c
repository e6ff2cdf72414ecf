/* System calls that fail, stop short, are slow or are the last thing a process does, when they are told to.
 *
 * Preloaded (LD_PRELOAD) into a process, which arms it through ctypes: shim_arm.  Counted are calls on regular files and
 * folders whose kind is in the mask, from the moment of arming; pipes, and all that Python does elsewhere, go through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, FDATASYNC = 4, FSYNC = 8, TRUNCATE = 16, LINK = 32, UNLINK = 64, RENAME = 128, READ = 256 };
enum { SHORT = -1, KILL = -2, SLOW = -3 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned armed;
static long count, first, last, hits, retried;
static int what;
static long delay;
static char hit_path[4096];
static const char *hit_call = "";
static struct identity { ino_t inode; long born; char path[256]; } failed_sync[64];
static int failed_syncs;

/* Forgets what was met before, unless it disarms (mask 0).  From call `from` to call `to` (counted from 1) of the kinds in `mask`: errno `fault`, or SHORT, KILL, SLOW. */
void shim_arm(unsigned mask, long from, long to, int fault, long nanoseconds)
{
    pthread_mutex_lock(&mutex);
    armed = mask, first = from, last = to, what = fault, delay = nanoseconds, count = 0;
    if (mask) {
        hits = 0;
        hit_call = "";
        memset(hit_path, 0, sizeof hit_path);
    }
    pthread_mutex_unlock(&mutex);
}

long shim_count(void) { return count; }
long shim_hits(void) { return hits; }
/* How often a regular file was synced again after a sync of it had failed. */
long shim_retried(void) { return retried; }
const char *shim_call(void) { return hit_call; }
const char *shim_path(void) { return hit_path; }

/* An inode is used again at once; its time of birth is told in ticks. */
static int is_ours(int fd, const char *path, struct identity *file)
{
    struct statx status;
    int saved = errno, known = fd >= 0 ? statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_BTIME, &status) : -1;
    errno = saved;
    memset(file, 0, sizeof *file);
    if (path != NULL)
        return 1;
    if (known == 0 && S_ISREG(status.stx_mode)) {
        char link[64];
        file->inode = status.stx_ino;
        file->born = status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, file->path, sizeof file->path - 1) < 0)
            file->inode = 0;
    }
    return known == 0 && (S_ISREG(status.stx_mode) || S_ISDIR(status.stx_mode));
}

/* 0: go on; else what is to happen. */
static int meet(unsigned kind, const char *call, int fd, const char *path)
{
    char link[64];
    struct identity file;
    int fault = 0;
    if (!armed || !is_ours(fd, path, &file))
        return 0;
    pthread_mutex_lock(&mutex);
    if (kind & (FDATASYNC | FSYNC))
        for (int i = 0; file.inode && i < failed_syncs; i++)
            retried += memcmp(&failed_sync[i], &file, sizeof file) == 0;
    if (armed & kind && ++count >= first && count <= last) {
        fault = what;
        if (hits++ == 0) {
            hit_call = call;
            if (path != NULL) {
                snprintf(hit_path, sizeof hit_path, "%s", path);
            } else {
                snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
                if (readlink(link, hit_path, sizeof hit_path - 1) < 0)
                    hit_path[0] = 0;
            }
        }
        if (fault > 0 && fault != EINTR && file.inode && kind & (FDATASYNC | FSYNC) && failed_syncs < 64)
            failed_sync[failed_syncs++] = file;
    }
    pthread_mutex_unlock(&mutex);
    if (fault == KILL)
        raise(SIGKILL);
    if (fault == SLOW) {
        struct timespec left = {.tv_sec = delay / 1000000000, .tv_nsec = delay % 1000000000};
        while (nanosleep(&left, &left) != 0)
            ;
        return 0;
    }
    return fault;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(kind, call, fd, path)                   \
    do {                                                \
        int fault = meet(kind, call, fd, path);         \
        if (fault > 0) {                                \
            errno = fault;                              \
            return -1;                                  \
        }                                               \
    } while (0)
#define FAIL_OR_SHORTEN(kind, call, fd, size)           \
    do {                                                \
        int fault = meet(kind, call, fd, NULL);         \
        if (fault > 0) {                                \
            errno = fault;                              \
            return -1;                                  \
        }                                               \
        if (fault == SHORT && size > 1)                 \
            size /= 2;                                  \
    } while (0)

#define OPENER(name, ...)                                       \
    {                                                                   \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                   \
        if (strncmp(path, "/proc", 5) != 0 && strncmp(path, "/dev", 4) != 0) \
            FAIL_IF(OPEN, "open", -1, path);                            \
        return REAL(name)(__VA_ARGS__, flags, mode);                    \
    }
int open(const char *path, int flags, ...) OPENER(open, path)
int open64(const char *path, int flags, ...) OPENER(open64, path)
int openat(int dir, const char *path, int flags, ...) OPENER(openat, dir, path)
int openat64(int dir, const char *path, int flags, ...) OPENER(openat64, dir, path)

#define WRITER(name, offset_type)                                               \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset)     \
    {                                                                           \
        FAIL_OR_SHORTEN(WRITE, "write", fd, size);                              \
        return REAL(name)(fd, data, size, offset);                              \
    }
WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size)
{
    FAIL_OR_SHORTEN(WRITE, "write", fd, size);
    return REAL(write)(fd, data, size);
}

#define READER(name, offset_type)                                       \
    ssize_t name(int fd, void *data, size_t size, offset_type offset)   \
    {                                                                   \
        FAIL_OR_SHORTEN(READ, "read", fd, size);                        \
        return REAL(name)(fd, data, size, offset);                      \
    }
READER(pread, off_t)
READER(pread64, off64_t)

ssize_t read(int fd, void *data, size_t size)
{
    FAIL_OR_SHORTEN(READ, "read", fd, size);
    return REAL(read)(fd, data, size);
}

int fdatasync(int fd)
{
    FAIL_IF(FDATASYNC, "fdatasync", fd, NULL);
    return REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    FAIL_IF(FSYNC, "fsync", fd, NULL);
    return REAL(fsync)(fd);
}

int ftruncate(int fd, off_t size)
{
    FAIL_IF(TRUNCATE, "ftruncate", fd, NULL);
    return REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    FAIL_IF(TRUNCATE, "ftruncate", fd, NULL);
    return REAL(ftruncate64)(fd, size);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    FAIL_IF(LINK, "link", -1, to);
    return REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
    FAIL_IF(UNLINK, "unlink", -1, path);
    return REAL(unlinkat)(dir, path, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    FAIL_IF(RENAME, "rename", -1, to);
    return REAL(renameat)(from_dir, from, to_dir, to);
}
