"""A canonical mint frame, taken apart but not yet turned into objects."""

from libc.stdint cimport int32_t, int64_t

from walcore._core.jsonstring cimport Span


cdef struct Mint:
    int64_t lsn
    int32_t id
    int32_t hash
    int kind                         # index into the four kinds I B L N
    Span lexical
    Span datatype
    Span language
