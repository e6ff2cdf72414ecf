/* CRC-32C three ways: the SSE4.2 instruction, the ARMv8 instruction, and eight tables ("slicing by eight").
 *
 * Frames are 160-400 bytes long, so one chain of eight bytes a step is what is worth having: interleaved chains gain
 * only from some kilobytes on, and pay for joining the chains on every frame. */
#include "crc32c.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#define HAVE_SSE42 1
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define HAVE_ARMV8 1
#if defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1UL << 7)
#endif
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#endif

typedef uint32_t (*crc32c_function)(uint32_t crc, const void *data, size_t size);

/* Table k holds the CRC of each byte followed by k zero bytes.  CRC is linear, so an entry is the sum (XOR) of those of
 * its bits, and eight numbers make a table: constant data, with nothing to initialise and no thread to race with. */
#define BIT(i, n, value) ((((i) >> (n)) & 1) ? (value) : 0U)
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                                  \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^ BIT(i, 6, g) ^ \
     BIT(i, 7, h))
#define FOUR(i, ...) \
    ENTRY((i), __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__), ENTRY((i) + 3, __VA_ARGS__)
#define SIXTEEN(i, ...) \
    FOUR((i), __VA_ARGS__), FOUR((i) + 4, __VA_ARGS__), FOUR((i) + 8, __VA_ARGS__), FOUR((i) + 12, __VA_ARGS__)
#define SIXTYFOUR(i, ...)                                                                \
    SIXTEEN((i), __VA_ARGS__), SIXTEEN((i) + 16, __VA_ARGS__), SIXTEEN((i) + 32, __VA_ARGS__), \
        SIXTEEN((i) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                      \
    {SIXTYFOUR(0, __VA_ARGS__), SIXTYFOUR(64, __VA_ARGS__), SIXTYFOUR(128, __VA_ARGS__), SIXTYFOUR(192, __VA_ARGS__)}

static const uint32_t tables[8][256] = {
    TABLE(0xF26B8303U, 0xE13B70F7U, 0xC79A971FU, 0x8AD958CFU, 0x105EC76FU, 0x20BD8EDEU, 0x417B1DBCU, 0x82F63B78U),
    TABLE(0x13A29877U, 0x274530EEU, 0x4E8A61DCU, 0x9D14C3B8U, 0x3FC5F181U, 0x7F8BE302U, 0xFF17C604U, 0xFBC3FAF9U),
    TABLE(0xA541927EU, 0x4F6F520DU, 0x9EDEA41AU, 0x38513EC5U, 0x70A27D8AU, 0xE144FB14U, 0xC76580D9U, 0x8B277743U),
    TABLE(0xDD45AAB8U, 0xBF672381U, 0x7B2231F3U, 0xF64463E6U, 0xE964B13DU, 0xD725148BU, 0xABA65FE7U, 0x52A0C93FU),
    TABLE(0x38116FACU, 0x7022DF58U, 0xE045BEB0U, 0xC5670B91U, 0x8F2261D3U, 0x1BA8B557U, 0x37516AAEU, 0x6EA2D55CU),
    TABLE(0xEF306B19U, 0xDB8CA0C3U, 0xB2F53777U, 0x6006181FU, 0xC00C303EU, 0x85F4168DU, 0x0E045BEBU, 0x1C08B7D6U),
    TABLE(0x68032CC8U, 0xD0065990U, 0xA5E0C5D1U, 0x4E2DFD53U, 0x9C5BFAA6U, 0x3D5B83BDU, 0x7AB7077AU, 0xF56E0EF4U),
    TABLE(0x493C7D27U, 0x9278FA4EU, 0x211D826DU, 0x423B04DAU, 0x847609B4U, 0x0D006599U, 0x1A00CB32U, 0x34019664U),
};

static inline uint32_t load_u32_le(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t walcore_crc32c_table(uint32_t crc, const void *data, size_t size) {
    const unsigned char *p = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = crc ^ load_u32_le(p), high = load_u32_le(p + 4);
        crc = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF] ^ tables[4][low >> 24] ^
              tables[3][high & 0xFF] ^ tables[2][high >> 8 & 0xFF] ^ tables[1][high >> 16 & 0xFF] ^
              tables[0][high >> 24];
    }
    for (; size; size--)
        crc = crc >> 8 ^ tables[0][(crc ^ *p++) & 0xFF];
    return ~crc;
}

#ifdef HAVE_SSE42
__attribute__((target("sse4.2"))) uint32_t walcore_crc32c_sse42(uint32_t crc, const void *data, size_t size) {
    const unsigned char *p = data;
    uint64_t state = ~crc, word;
    for (; size >= 8; size -= 8, p += 8) {
        memcpy(&word, p, 8);
        state = _mm_crc32_u64(state, word);
    }
    crc = (uint32_t)state;
    if (size & 4) {
        uint32_t half;
        memcpy(&half, p, 4);
        crc = _mm_crc32_u32(crc, half);
        p += 4;
    }
    for (size &= 3; size; size--)
        crc = _mm_crc32_u8(crc, *p++);
    return ~crc;
}
#else
uint32_t walcore_crc32c_sse42(uint32_t crc, const void *data, size_t size) {
    return walcore_crc32c_table(crc, data, size);
}
#endif

#ifdef HAVE_ARMV8
/* By assembler: the names of the intrinsics, and what has to be switched on to see them, differ from compiler to
 * compiler; this line doesn't. */
#define ARMV8_STEP(instruction, crc, value) \
    __asm__(".arch_extension crc\n\t" instruction : "+r"(crc) : "r"(value))

uint32_t walcore_crc32c_armv8(uint32_t crc, const void *data, size_t size) {
    const unsigned char *p = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        ARMV8_STEP("crc32cx %w0, %w0, %x1", crc, word);
    }
    for (; size; size--) {
        uint32_t byte = *p++;
        ARMV8_STEP("crc32cb %w0, %w0, %w1", crc, byte);
    }
    return ~crc;
}
#else
uint32_t walcore_crc32c_armv8(uint32_t crc, const void *data, size_t size) {
    return walcore_crc32c_table(crc, data, size);
}
#endif

static int has_sse42(void) {
#ifdef HAVE_SSE42
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
#else
    return 0;
#endif
}

static int has_armv8(void) {
#if defined(HAVE_ARMV8) && defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#elif defined(HAVE_ARMV8) && defined(__APPLE__)
    int present = 0;
    size_t size = sizeof present;
    return sysctlbyname("hw.optional.armv8_crc32", &present, &size, NULL, 0) == 0 && present;
#else
    return 0;
#endif
}

/* What the processor can do is asked once.  Threads that ask at the same time store the same answer. */
static crc32c_function chosen(void) {
    static _Atomic(crc32c_function) cached;
    crc32c_function function = atomic_load_explicit(&cached, memory_order_relaxed);
    if (!function) {
        function = has_sse42() ? walcore_crc32c_sse42 : has_armv8() ? walcore_crc32c_armv8 : walcore_crc32c_table;
        atomic_store_explicit(&cached, function, memory_order_relaxed);
    }
    return function;
}

uint32_t walcore_crc32c(uint32_t crc, const void *data, size_t size) {
    return chosen()(crc, data, size);
}

const char *walcore_crc32c_backend(void) {
    crc32c_function function = chosen();
    return function == walcore_crc32c_sse42 ? "sse4.2" : function == walcore_crc32c_armv8 ? "armv8" : "table";
}

int walcore_crc32c_supported(const char *name) {
    if (!strcmp(name, "sse4.2"))
        return has_sse42();
    if (!strcmp(name, "armv8"))
        return has_armv8();
    return !strcmp(name, "table");
}
