/* hash.h: seeded hashing of bytes for tables whose keys a peer may choose.
 *
 * SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) under a key drawn from
 * the kernel at the first use, so nobody outside can compute collisions.
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

/* Hash under this process's own key. Thread safe. */
uint64_t tg_hash_bytes(const void *p, size_t n);

#endif
