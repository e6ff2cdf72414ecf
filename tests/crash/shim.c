/* System calls that fail, stop short, are slow or are the last thing a process does, when they are told to.
 *
 * Preloaded (LD_PRELOAD) into a process, which arms it through ctypes: shim_watch, shim_arm.  Counted are calls on what
 * lies below the folder that is watched, whose kind is in the mask, from the moment of arming; all else goes through.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    OPEN = 1, WRITE = 2, FDATASYNC = 4, FSYNC = 8, TRUNCATE = 16, LINK = 32, UNLINK = 64, RENAME = 128, READ = 256,
    FCNTL = 512, STAT = 1024, LIST = 2048, SEEK = 4096, MKDIR = 8192, CLOSE = 16384
};
enum { SHORT = -1, KILL = -2, SLOW = -3, LIE = -4 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned armed;
static long count, first, last, hits, retried;
static int what;
static long delay;
static char watched[4096];
static char hit_path[4096];
static const char *hit_call = "";
static struct identity { ino_t inode; long born; } failed_sync[64];
static int failed_syncs;

/* Calls on files and folders whose real path begins with `folder` count from now on. */
void shim_watch(const char *folder) { snprintf(watched, sizeof watched, "%s", folder); }

/* Forgets what was met before, unless it disarms (mask 0).  From call `from` to call `to` (counted from 1) of the kinds
 * in `mask`: errno `fault`; or SHORT, half of the bytes; KILL; SLOW; LIE, a success of which nothing is true. */
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

/* The absolute path of `fd`, or of `path` below the folder `fd`; 0 unless it is watched. */
static int is_watched(int fd, const char *path, char *full, size_t size)
{
    char link[64];
    size_t used = 0;
    int saved = errno;
    if (path == NULL || (path[0] != '/' && fd != AT_FDCWD)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t got = readlink(link, full, size - 1);
        used = got < 0 ? 0 : (size_t)got;
        if (path != NULL && used < size - 1)
            full[used++] = '/';
    }
    snprintf(full + used, size - used, "%s", path == NULL ? "" : path);
    errno = saved;
    return watched[0] != 0 && strncmp(full, watched, strlen(watched)) == 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* An inode is used again at once; its time of birth is told in ticks. */
static struct identity identify(int fd)
{
    struct statx status;
    struct identity file = {0, 0};
    int saved = errno;
    if (REAL(statx)(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_BTIME, &status) == 0
        && S_ISREG(status.stx_mode)) {
        file.inode = status.stx_ino;
        file.born = status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec;
    }
    errno = saved;
    return file;
}

/* 0: go on; else what is to happen. */
static int meet(unsigned kind, const char *call, int fd, const char *path)
{
    char full[4096];
    struct identity file = {0, 0};
    int fault = 0;
    if (!armed || !is_watched(fd, path, full, sizeof full))
        return 0;
    if (kind & (FDATASYNC | FSYNC))
        file = identify(fd);
    pthread_mutex_lock(&mutex);
    for (int i = 0; file.inode && i < failed_syncs; i++)
        retried += failed_sync[i].inode == file.inode && failed_sync[i].born == file.born;
    if (armed & kind && ++count >= first && count <= last) {
        fault = what;
        if (hits++ == 0) {
            hit_call = call;
            snprintf(hit_path, sizeof hit_path, "%s", full);
        }
        if (fault > 0 && fault != EINTR && file.inode && failed_syncs < 64)
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

#define FAIL_IF(kind, call, fd, path, failed)           \
    do {                                                \
        int fault = meet(kind, call, fd, path);         \
        if (fault > 0) {                                \
            errno = fault;                              \
            return failed;                              \
        }                                               \
        if (fault == LIE)                               \
            return 0;                                   \
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
        if (fault == LIE)                               \
            return (ssize_t)size;                       \
    } while (0)

#define OPENER(name, dir, ...)                                          \
    {                                                                   \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                   \
        FAIL_IF(OPEN, "open", dir, path, -1);                           \
        return REAL(name)(__VA_ARGS__, flags, mode);                    \
    }
int open(const char *path, int flags, ...) OPENER(open, AT_FDCWD, path)
int open64(const char *path, int flags, ...) OPENER(open64, AT_FDCWD, path)
int openat(int dir, const char *path, int flags, ...) OPENER(openat, dir, dir, path)
int openat64(int dir, const char *path, int flags, ...) OPENER(openat64, dir, dir, path)

/* A failing close has closed. */
int close(int fd)
{
    int fault = meet(CLOSE, "close", fd, NULL), done = REAL(close)(fd);
    if (fault <= 0)
        return done;
    errno = fault;
    return -1;
}

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

/* Into one buffer, as walcore reads. */
#define READER_OF_MANY(name, offset_type)                                                               \
    ssize_t name(int fd, const struct iovec *parts, int number, offset_type offset, int flags)          \
    {                                                                                                   \
        struct iovec one = parts[0];                                                                    \
        if (number != 1)                                                                                \
            return REAL(name)(fd, parts, number, offset, flags);                                        \
        FAIL_OR_SHORTEN(READ, "read", fd, one.iov_len);                                                 \
        return REAL(name)(fd, &one, 1, offset, flags);                                                  \
    }
READER_OF_MANY(preadv2, off_t)
READER_OF_MANY(preadv64v2, off64_t)

#define LISTER(name, entry)                                     \
    struct entry *name(DIR *folder)                             \
    {                                                           \
        FAIL_IF(LIST, "readdir", dirfd(folder), NULL, NULL);    \
        return REAL(name)(folder);                              \
    }
LISTER(readdir, dirent)
LISTER(readdir64, dirent64)

#define ON_DESCRIPTOR(kind, name, call, ...)            \
    {                                                   \
        FAIL_IF(kind, call, fd, NULL, -1);              \
        return REAL(name)(__VA_ARGS__);                 \
    }
int fdatasync(int fd) ON_DESCRIPTOR(FDATASYNC, fdatasync, "fdatasync", fd)
int fsync(int fd) ON_DESCRIPTOR(FSYNC, fsync, "fsync", fd)
int ftruncate(int fd, off_t size) ON_DESCRIPTOR(TRUNCATE, ftruncate, "ftruncate", fd, size)
int ftruncate64(int fd, off64_t size) ON_DESCRIPTOR(TRUNCATE, ftruncate64, "ftruncate", fd, size)
int fstat(int fd, struct stat *status) ON_DESCRIPTOR(STAT, fstat, "fstat", fd, status)
int fstat64(int fd, struct stat64 *status) ON_DESCRIPTOR(STAT, fstat64, "fstat", fd, status)
int statx(int fd, const char *path, int flags, unsigned mask, struct statx *status)
{
    FAIL_IF(STAT, "fstat", fd, *path ? path : NULL, -1);
    return REAL(statx)(fd, path, flags, mask, status);
}
off_t lseek(int fd, off_t offset, int from) ON_DESCRIPTOR(SEEK, lseek, "lseek", fd, offset, from)
off64_t lseek64(int fd, off64_t offset, int from) ON_DESCRIPTOR(SEEK, lseek64, "lseek", fd, offset, from)

#define CONTROLLER(name)                                \
    int name(int fd, int command, ...)                  \
    {                                                   \
        va_list rest;                                   \
        va_start(rest, command);                        \
        void *argument = va_arg(rest, void *);          \
        va_end(rest);                                   \
        FAIL_IF(FCNTL, "fcntl", fd, NULL, -1);          \
        return REAL(name)(fd, command, argument);       \
    }
CONTROLLER(fcntl)
CONTROLLER(fcntl64)

#define ON_NAME(kind, name, call, dir, path, ...)       \
    {                                                   \
        FAIL_IF(kind, call, dir, path, -1);             \
        return REAL(name)(__VA_ARGS__);                 \
    }
int fstatat(int dir, const char *path, struct stat *status, int flags)
    ON_NAME(STAT, fstatat, "stat", dir, path, dir, path, status, flags)
int fstatat64(int dir, const char *path, struct stat64 *status, int flags)
    ON_NAME(STAT, fstatat64, "stat", dir, path, dir, path, status, flags)
int stat(const char *path, struct stat *status) ON_NAME(STAT, stat, "stat", AT_FDCWD, path, path, status)
int stat64(const char *path, struct stat64 *status) ON_NAME(STAT, stat64, "stat", AT_FDCWD, path, path, status)
int lstat(const char *path, struct stat *status) ON_NAME(STAT, lstat, "lstat", AT_FDCWD, path, path, status)
int lstat64(const char *path, struct stat64 *status) ON_NAME(STAT, lstat64, "lstat", AT_FDCWD, path, path, status)
int mkdir(const char *path, mode_t mode) ON_NAME(MKDIR, mkdir, "mkdir", AT_FDCWD, path, path, mode)
int mkdirat(int dir, const char *path, mode_t mode) ON_NAME(MKDIR, mkdirat, "mkdir", dir, path, dir, path, mode)
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
    ON_NAME(LINK, linkat, "link", to_dir, to, from_dir, from, to_dir, to, flags)
int unlinkat(int dir, const char *path, int flags) ON_NAME(UNLINK, unlinkat, "unlink", dir, path, dir, path, flags)
int renameat(int from_dir, const char *from, int to_dir, const char *to)
    ON_NAME(RENAME, renameat, "rename", to_dir, to, from_dir, from, to_dir, to)
