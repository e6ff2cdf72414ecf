"""The C of batch.h and arrow_abi.h, for cimport."""

from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "arrow_abi.h" nogil:
    struct ArrowSchema:
        const char *format
        const char *name
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept nogil

    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        const void **buffers
        ArrowArray **children
        ArrowArray *dictionary
        void (*release)(ArrowArray *) noexcept nogil

    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream *, ArrowSchema *) noexcept nogil
        int (*get_next)(ArrowArrayStream *, ArrowArray *) noexcept nogil
        const char *(*get_last_error)(ArrowArrayStream *) noexcept nogil
        void (*release)(ArrowArrayStream *) noexcept nogil
        void *private_data


cdef extern from "batch.h" nogil:
    ctypedef struct walcore_strings:
        char *text
        size_t text_used

    ctypedef struct walcore_dictionary:
        walcore_strings values

    struct walcore_batch:
        walcore_batch *next
        size_t rows
        walcore_strings lexicals
        walcore_dictionary datatypes
        walcore_dictionary languages

    walcore_batch *walcore_batch_new() noexcept
    void walcore_batch_release(walcore_batch *batch) noexcept
    int walcore_batch_reserve(walcore_batch *batch, size_t text) noexcept
    int walcore_batch_add(
        walcore_batch *batch, int64_t lsn, int32_t id, int kind, size_t lexical_size, const char *datatype,
        size_t datatype_size, const char *language, size_t language_size, int32_t hash) noexcept
    int walcore_batch_lend(walcore_batch *batch, ArrowArray *out) noexcept
    int walcore_batch_schema(ArrowSchema *out) noexcept
    void walcore_batch_seed(uint64_t seed) noexcept
