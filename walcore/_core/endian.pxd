"""Little-endian numbers at any address, on any machine; compilers make one instruction of each."""

from libc.stdint cimport uint32_t, uint64_t


cdef inline void put_u32_le(unsigned char* at, uint32_t value) noexcept nogil:
    at[0] = <unsigned char>(value & 0xFFU)
    at[1] = <unsigned char>((value >> 8) & 0xFFU)
    at[2] = <unsigned char>((value >> 16) & 0xFFU)
    at[3] = <unsigned char>(value >> 24)


cdef inline uint32_t get_u32_le(const unsigned char* at) noexcept nogil:
    return (<uint32_t>at[0]) | (<uint32_t>at[1] << 8) | (<uint32_t>at[2] << 16) | (<uint32_t>at[3] << 24)


cdef inline uint64_t get_u64_le(const unsigned char* at) noexcept nogil:
    return <uint64_t>get_u32_le(at) | (<uint64_t>get_u32_le(at + 4) << 32)
