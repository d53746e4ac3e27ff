/* hash.h: seeded hashing of bytes for tables whose keys a peer may choose.
 *
 * SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012), which gives the same
 * everywhere; and for tables a hash of this process's own, which nobody outside ever sees, by the
 * processor's AES instructions where it has them: a key of up to 16 bytes costs a fifth of the
 * instructions then, and in a large table those are what keeps the processor from the next look-up
 * while it waits for memory.
 *
 * Keys are drawn from the kernel, so nobody outside can compute collisions.
 */
#ifndef TG_BASE_HASH_H
#define TG_BASE_HASH_H

#include "base/str.h"

struct tg_hash_key {
    uint64_t k0;
    uint64_t k1;
};

/* Hash under an explicit key: for tests, and for values that must agree between processes. */
uint64_t tg_hash_keyed(struct tg_hash_key key, const void *p, size_t n);

/* The same with 128 bits (SipHash-1-3-128), which stand for the bytes themselves: nobody who does
 * not know the key finds two that agree. */
struct tg_hash_128 {
    uint64_t a;
    uint64_t b;
};
struct tg_hash_128 tg_hash_keyed_128(struct tg_hash_key key, const void *p, size_t n);

/* Hash under this process's own key, for use in this process only. Thread safe. */
uint64_t tg_hash_bytes(const void *p, size_t n);

/* The same with 128 bits, which stand for the bytes themselves within `domain`: one domain knows
 * nothing of what another makes of the same bytes. */
struct tg_hash_128 tg_hash_bytes_128(uint64_t domain, const void *p, size_t n);

#endif
