"""The C of crc32c.h, for cimport."""

from libc.stdint cimport uint32_t


cdef extern from "crc32c.h" nogil:
    uint32_t walcore_crc32c(uint32_t crc, const void* data, size_t size) noexcept
    const char* walcore_crc32c_backend() noexcept
    int walcore_crc32c_supported(const char* name) noexcept
    uint32_t walcore_crc32c_table(uint32_t crc, const void* data, size_t size) noexcept
    uint32_t walcore_crc32c_sse42(uint32_t crc, const void* data, size_t size) noexcept
    uint32_t walcore_crc32c_armv8(uint32_t crc, const void* data, size_t size) noexcept
