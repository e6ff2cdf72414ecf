#include "batch.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROWS = 1024, FIRST_TEXT = 32 * FIRST_ROWS, FIRST_VALUES = 16, FIRST_SLOTS = 64 };

static uint64_t hash_seed = 0x9E3779B97F4A7C15U;

void walcore_batch_seed(uint64_t seed)
{
    hash_seed = seed | 1;
}

/* --- growing ------------------------------------------------------------------------------------------------------ */

/* realloc to `count` items of `size` bytes; on failure the old block stays. */
static int resize(void *block, size_t count, size_t size)
{
    void *grown = realloc(*(void **)block, count * size);
    if (grown == NULL)
        return -1;
    *(void **)block = grown;
    return 0;
}

static int reserve_text(walcore_strings *strings, size_t size)
{
    size_t room = strings->text_room ? strings->text_room : FIRST_TEXT;
    if (size <= strings->text_room - strings->text_used && strings->text_room)
        return 0;
    while (room - strings->text_used < size)
        room *= 2;
    if (resize(&strings->text, room, 1))
        return -1;
    strings->text_room = room;
    return 0;
}

static int resize_strings(walcore_strings *strings, size_t room)
{
    if (resize(&strings->offsets, room + 1, sizeof(int32_t)))
        return -1;
    strings->offsets[0] = 0;
    strings->room = room;
    return 0;
}

static inline void add_string(walcore_strings *strings, size_t size)
{
    strings->text_used += size;
    strings->count += 1;
    strings->offsets[strings->count] = (int32_t)strings->text_used;
}

static int resize_rows(walcore_batch *batch, size_t room)
{
    if (resize(&batch->lsns, room, sizeof(int64_t)) || resize(&batch->ids, room, sizeof(int32_t)) ||
        resize(&batch->kinds, room, sizeof(int8_t)) || resize(&batch->hashes, room, sizeof(int32_t)) ||
        resize(&batch->datatypes.rows, room, sizeof(int32_t)) ||
        resize(&batch->languages.rows, room, sizeof(int32_t)) || resize_strings(&batch->lexicals, room))
        return -1;
    batch->room = room;
    return 0;
}

int walcore_batch_reserve(walcore_batch *batch, size_t text)
{
    if (batch->rows == batch->room && resize_rows(batch, 2 * batch->room))
        return -1;
    return reserve_text(&batch->lexicals, text);
}

/* --- dictionaries --------------------------------------------------------------------------------------------------*/

/* The product's halves folded: which bits of it a bit reaches depends on all bits of the seed. */
static inline uint64_t mix(uint64_t one, uint64_t two)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)one * two;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t hash = hash_seed ^ size;
    uint64_t word;
    for (; size >= 8; text += 8, size -= 8) {
        memcpy(&word, text, 8);
        hash = mix(hash ^ word, hash_seed);
    }
    word = 0;
    memcpy(&word, text, size);
    hash = mix(hash ^ word, hash_seed);
    return hash ^ hash >> 32;
}

static inline const char *value_at(const walcore_strings *values, size_t index, size_t *size)
{
    *size = (size_t)(values->offsets[index + 1] - values->offsets[index]);
    return values->text + values->offsets[index];
}

static inline int is_value(const walcore_strings *values, size_t index, const char *text, size_t size)
{
    size_t own;
    const char *value = value_at(values, index, &own);
    return own == size && memcmp(value, text, size) == 0;
}

/* The slot of a string, or the free one where it belongs. */
static uint32_t *slot_of(const walcore_dictionary *dictionary, const char *text, size_t size)
{
    size_t mask = dictionary->slot_count - 1;
    size_t at = (size_t)hash_of(text, size) & mask;
    while (dictionary->slots[at] && !is_value(&dictionary->values, dictionary->slots[at] - 1, text, size))
        at = (at + 1) & mask;
    return &dictionary->slots[at];
}

static int grow_slots(walcore_dictionary *dictionary)
{
    size_t count = dictionary->slot_count ? 2 * dictionary->slot_count : FIRST_SLOTS;
    uint32_t *slots = calloc(count, sizeof(uint32_t));
    if (slots == NULL)
        return -1;
    free(dictionary->slots);
    dictionary->slots = slots;
    dictionary->slot_count = count;
    for (size_t index = 0; index < dictionary->values.count; index++) {
        size_t size;
        const char *value = value_at(&dictionary->values, index, &size);
        *slot_of(dictionary, value, size) = (uint32_t)index + 1;
    }
    return 0;
}

/* The index of a string, which is added if it is new; -1: no memory. */
static int32_t index_of(walcore_dictionary *dictionary, const char *text, size_t size)
{
    walcore_strings *values = &dictionary->values;
    uint32_t *slot;
    if (values->count && is_value(values, (size_t)dictionary->last, text, size))
        return dictionary->last;
    if (2 * (values->count + 1) > dictionary->slot_count && grow_slots(dictionary))
        return -1;
    slot = slot_of(dictionary, text, size);
    if (*slot == 0) {
        if (values->count == values->room && resize_strings(values, 2 * values->room))
            return -1;
        if (reserve_text(values, size))
            return -1;
        memcpy(values->text + values->text_used, text, size);
        add_string(values, size);
        *slot = (uint32_t)values->count;
    }
    dictionary->last = (int32_t)(*slot - 1);
    return dictionary->last;
}

/* --- batches -------------------------------------------------------------------------------------------------------*/

walcore_batch *walcore_batch_new(void)
{
    walcore_batch *batch = calloc(1, sizeof(walcore_batch));
    if (batch == NULL)
        return NULL;
    batch->references = 1;
    if (resize_rows(batch, FIRST_ROWS) || reserve_text(&batch->lexicals, 0) ||
        resize_strings(&batch->datatypes.values, FIRST_VALUES) || reserve_text(&batch->datatypes.values, 0) ||
        resize_strings(&batch->languages.values, FIRST_VALUES) || reserve_text(&batch->languages.values, 0)) {
        walcore_batch_release(batch);
        return NULL;
    }
    return batch;
}

static void free_strings(walcore_strings *strings)
{
    free(strings->text);
    free(strings->offsets);
}

static void free_dictionary(walcore_dictionary *dictionary)
{
    free_strings(&dictionary->values);
    free(dictionary->rows);
    free(dictionary->slots);
}

void walcore_batch_release(walcore_batch *batch)
{
    if (__atomic_sub_fetch(&batch->references, 1, __ATOMIC_ACQ_REL))
        return;
    free(batch->lsns);
    free(batch->ids);
    free(batch->kinds);
    free(batch->hashes);
    free_strings(&batch->lexicals);
    free_dictionary(&batch->datatypes);
    free_dictionary(&batch->languages);
    free(batch);
}

int walcore_batch_add(walcore_batch *batch, int64_t lsn, int32_t id, int kind, size_t lexical_size,
                      const char *datatype, size_t datatype_size, const char *language, size_t language_size,
                      int32_t hash)
{
    size_t row = batch->rows;
    int32_t datatype_index = index_of(&batch->datatypes, datatype, datatype_size);
    int32_t language_index = index_of(&batch->languages, language, language_size);
    if (datatype_index < 0 || language_index < 0)
        return -1;
    batch->lsns[row] = lsn;
    batch->ids[row] = id;
    batch->kinds[row] = (int8_t)kind;
    batch->hashes[row] = hash;
    batch->datatypes.rows[row] = datatype_index;
    batch->languages.rows[row] = language_index;
    add_string(&batch->lexicals, lexical_size);
    batch->rows = row + 1;
    return 0;
}

/* --- lending -------------------------------------------------------------------------------------------------------*/

/* Every array, the children and dictionaries too, since a consumer may move these out, holds a reference of its own. */
static void release_array(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i] != NULL && array->children[i]->release != NULL)
            array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    free(array->children);
    if (array->dictionary != NULL && array->dictionary->release != NULL)
        array->dictionary->release(array->dictionary);
    free(array->dictionary);
    free(array->buffers);
    walcore_batch_release(array->private_data);
    array->release = NULL;
}

/* An array without nulls: `buffers` buffers, the first of them, for nulls, NULL; NULL: no memory. */
static int begin_array(walcore_batch *batch, struct ArrowArray *array, size_t length, const void *second,
                       const void *third)
{
    memset(array, 0, sizeof(*array));
    array->buffers = calloc(3, sizeof(void *));
    if (array->buffers == NULL)
        return -1;
    array->length = (int64_t)length;
    array->n_buffers = third != NULL ? 3 : second != NULL ? 2 : 1;
    array->buffers[1] = second;
    array->buffers[2] = third;
    __atomic_add_fetch(&batch->references, 1, __ATOMIC_RELAXED);
    array->private_data = batch;
    array->release = release_array;
    return 0;
}

static int lend_dictionary(walcore_batch *batch, struct ArrowArray *array, const void *rows, size_t count,
                           const int32_t *offsets, const char *text)
{
    if (begin_array(batch, array, batch->rows, rows, NULL))
        return -1;
    array->dictionary = calloc(1, sizeof(struct ArrowArray));
    if (array->dictionary == NULL)
        return -1;
    return begin_array(batch, array->dictionary, count, offsets, text);
}

static int lend_column(walcore_batch *batch, struct ArrowArray *array, int column)
{
    static const int32_t kind_offsets[] = {0, 1, 2, 3, 4};
    static const char kind_text[] = "IBLN";
    const walcore_strings *values = column == 4 ? &batch->datatypes.values : &batch->languages.values;
    switch (column) {
    case 0:
        return begin_array(batch, array, batch->rows, batch->lsns, NULL);
    case 1:
        return begin_array(batch, array, batch->rows, batch->ids, NULL);
    case 2:
        return lend_dictionary(batch, array, batch->kinds, 4, kind_offsets, kind_text);
    case 3:
        return begin_array(batch, array, batch->rows, batch->lexicals.offsets, batch->lexicals.text);
    case 4:
        return lend_dictionary(batch, array, batch->datatypes.rows, values->count, values->offsets, values->text);
    case 5:
        return lend_dictionary(batch, array, batch->languages.rows, values->count, values->offsets, values->text);
    default:
        return begin_array(batch, array, batch->rows, batch->hashes, NULL);
    }
}

enum { COLUMNS = 7 };

int walcore_batch_lend(walcore_batch *batch, struct ArrowArray *out)
{
    if (begin_array(batch, out, batch->rows, NULL, NULL))
        return -1;
    out->children = calloc(COLUMNS, sizeof(struct ArrowArray *));
    if (out->children == NULL)
        goto failed;
    out->n_children = COLUMNS;
    for (int i = 0; i < COLUMNS; i++) {
        out->children[i] = calloc(1, sizeof(struct ArrowArray));
        if (out->children[i] == NULL || lend_column(batch, out->children[i], i))
            goto failed;
    }
    return 0;
failed:
    release_array(out);
    return -1;
}

static void release_schema(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i] != NULL && schema->children[i]->release != NULL)
            schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    if (schema->dictionary != NULL && schema->dictionary->release != NULL)
        schema->dictionary->release(schema->dictionary);
    free(schema->dictionary);
    schema->release = NULL;
}

static void begin_schema(struct ArrowSchema *schema, const char *name, const char *format)
{
    memset(schema, 0, sizeof(*schema));
    schema->format = format;
    schema->name = name;
    schema->release = release_schema;
}

int walcore_batch_schema(struct ArrowSchema *out)
{
    /* Name, format (l int64, i int32, c int8, u utf8), and whether that is the index into a dictionary of utf8. */
    static const struct {
        const char *name;
        const char *format;
        int dictionary;
    } columns[COLUMNS] = {{"lsn", "l", 0},      {"id", "i", 0},       {"kind", "c", 1}, {"lexical", "u", 0},
                          {"datatype", "i", 1}, {"language", "i", 1}, {"hash", "i", 0}};
    begin_schema(out, "", "+s");
    out->children = calloc(COLUMNS, sizeof(struct ArrowSchema *));
    if (out->children == NULL)
        goto failed;
    out->n_children = COLUMNS;
    for (int i = 0; i < COLUMNS; i++) {
        struct ArrowSchema *column = out->children[i] = calloc(1, sizeof(struct ArrowSchema));
        if (column == NULL)
            goto failed;
        begin_schema(column, columns[i].name, columns[i].format);
        if (!columns[i].dictionary)
            continue;
        column->dictionary = calloc(1, sizeof(struct ArrowSchema));
        if (column->dictionary == NULL)
            goto failed;
        begin_schema(column->dictionary, "", "u");
    }
    return 0;
failed:
    release_schema(out);
    return -1;
}
