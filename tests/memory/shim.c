/* Memory that isn't there when the compiled core asks for it, by the number of the request.
 *
 * Preloaded (LD_PRELOAD) and armed through ctypes.  Counted is what code of walcore/_core asks malloc, calloc and realloc
 * for; all else goes through.  What the core was given and nobody has freed is known, up to MOST blocks: leaks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

enum { RANGES = 32, MOST = 4096 };

static struct { uintptr_t start, end; } ranges[RANGES];
static int known;
static long first, last, count, hits;
static void *live[MOST];
static int blocks;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int note_module(struct dl_phdr_info *module, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (strstr(module->dlpi_name, "walcore/_core/") == NULL)
        return 0;
    for (int i = 0; i < module->dlpi_phnum && known < RANGES; i++) {
        const ElfW(Phdr) *part = &module->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X) {
            ranges[known].start = module->dlpi_addr + part->p_vaddr;
            ranges[known++].end = module->dlpi_addr + part->p_vaddr + part->p_memsz;
        }
    }
    return 0;
}

/* Requests `from` to `to`, counted from 1, fail; returns how many of the core's modules are loaded, the others are none of ours. */
int shim_arm(long from, long to)
{
    known = 0;
    dl_iterate_phdr(note_module, NULL);
    pthread_mutex_lock(&mutex);
    first = from, last = to, count = hits = 0;
    pthread_mutex_unlock(&mutex);
    return known;
}

long shim_hits(void) { return hits; }
int shim_blocks(void) { return blocks; }

static int is_ours(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    for (int i = 0; i < known; i++)
        if (at >= ranges[i].start && at < ranges[i].end)
            return 1;
    return 0;
}

static int fails(void)
{
    int met;
    pthread_mutex_lock(&mutex);
    count++;
    met = count >= first && count <= last;
    hits += met;
    pthread_mutex_unlock(&mutex);
    return met;
}

static void *given(void *block)
{
    pthread_mutex_lock(&mutex);
    if (block != NULL && blocks < MOST)
        live[blocks++] = block;
    pthread_mutex_unlock(&mutex);
    return block;
}

static void forget(void *block)
{
    if (block == NULL || !blocks)
        return;
    pthread_mutex_lock(&mutex);
    for (int i = blocks - 1; i >= 0; i--)
        if (live[i] == block) {
            live[i] = live[--blocks];
            break;
        }
    pthread_mutex_unlock(&mutex);
}

void *malloc(size_t size)
{
    if (!is_ours(__builtin_return_address(0)))
        return __libc_malloc(size);
    return fails() ? NULL : given(__libc_malloc(size));
}

void *calloc(size_t number, size_t size)
{
    if (!is_ours(__builtin_return_address(0)))
        return __libc_calloc(number, size);
    return fails() ? NULL : given(__libc_calloc(number, size));
}

void *realloc(void *block, size_t size)
{
    void *grown;
    if (!is_ours(__builtin_return_address(0))) {
        forget(block);
        return __libc_realloc(block, size);
    }
    if (fails())
        return NULL;
    grown = __libc_realloc(block, size);
    if (grown != NULL) {
        forget(block);
        given(grown);
    }
    return grown;
}

void free(void *block)
{
    forget(block);
    __libc_free(block);
}
