/* Record batches in Arrow's memory layout: filled row by row, then lent out by the Arrow C data interface.
 * Nothing here needs the GIL or a Python object. */
#ifndef WALCORE_BATCH_H
#define WALCORE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "arrow_abi.h"

/* Strings one behind another: `offsets` has one more entry than there are strings. */
typedef struct {
    char *text;
    size_t text_used;
    size_t text_room;
    int32_t *offsets;
    size_t count;
    size_t room;
} walcore_strings;

/* Strings that come again and again, each kept once, and which of them a row has. */
typedef struct {
    walcore_strings values;
    int32_t *rows;
    uint32_t *slots;            /* a hash table of indices into values, plus 1; 0: free */
    size_t slot_count;          /* a power of two */
    int32_t last;               /* the index given last: most rows have the same */
} walcore_dictionary;

typedef struct walcore_batch {
    struct walcore_batch *next; /* in its maker's queue */
    int references;             /* its maker's and one for each array lent out: the last to go frees it */
    size_t rows;
    size_t room;
    int64_t *lsns;
    int32_t *ids;
    int8_t *kinds;              /* indices into I B L N */
    walcore_strings lexicals;
    walcore_dictionary datatypes;
    walcore_dictionary languages;
    int32_t *hashes;
} walcore_batch;

/* An empty batch; NULL: no memory. */
walcore_batch *walcore_batch_new(void);
/* Gives a reference back. */
void walcore_batch_release(walcore_batch *batch);
/* Makes room for one more row and `text` bytes behind the lexicals so far.  Returns 0, or -1: no memory. */
int walcore_batch_reserve(walcore_batch *batch, size_t text);
/* Adds a row for which there is room; its lexical stands behind the others already.  The two strings are copied.
 * Returns 0, or -1: no memory, and nothing was added. */
int walcore_batch_add(walcore_batch *batch, int64_t lsn, int32_t id, int kind, size_t lexical_size,
                      const char *datatype, size_t datatype_size, const char *language, size_t language_size,
                      int32_t hash);
/* Lends the batch, which must not change any more, as a struct array.  Returns 0, or -1: no memory. */
int walcore_batch_lend(walcore_batch *batch, struct ArrowArray *out);
/* What every batch looks like.  Returns 0, or -1: no memory. */
int walcore_batch_schema(struct ArrowSchema *out);

/* Sets what the dictionaries' hash begins with, at random, so that nobody can make a file whose strings collide. */
void walcore_batch_seed(uint64_t seed);

#endif
