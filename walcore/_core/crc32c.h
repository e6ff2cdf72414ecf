/* CRC-32C (Castagnoli, reflected 0x82F63B78), the checksum of every frame; see RFC 3720, appendix B.4.
 *
 * All functions chain like zlib's crc32: begin with 0, pass what came back to go on.  They take no lock, allocate
 * nothing, need no initialisation and may be called from any thread, with or without the GIL. */
#ifndef WALCORE_CRC32C_H
#define WALCORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* By the fastest way that this processor has. */
uint32_t walcore_crc32c(uint32_t crc, const void *data, size_t size);

/* The name of that way: "sse4.2", "armv8" or "table". */
const char *walcore_crc32c_backend(void);

/* Whether this build and this processor can run the way called `name`. */
int walcore_crc32c_supported(const char *name);

/* The ways themselves, for tests; where a build has no such instruction the table answers.  On a processor without
 * the instruction a call kills the process: ask walcore_crc32c_supported first. */
uint32_t walcore_crc32c_table(uint32_t crc, const void *data, size_t size);
uint32_t walcore_crc32c_sse42(uint32_t crc, const void *data, size_t size);
uint32_t walcore_crc32c_armv8(uint32_t crc, const void *data, size_t size);

#endif
