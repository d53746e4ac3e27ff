/* rand.h: random numbers for jitter, choices and identifiers, one generator per thread.
 *
 * xoshiro256++ (Blackman, Vigna: "Scrambled linear pseudorandom number generators", 2021), seeded
 * from the kernel. Fast and well mixed, not secret: keys and tokens take tg_rand_secret().
 */
#ifndef TG_BASE_RAND_H
#define TG_BASE_RAND_H

#include "base/defs.h"

struct tg_rand {
    uint64_t s[4];
};

/* Seeds from the kernel. */
void tg_rand_init(struct tg_rand *r);

/* Seeds from a number, for tests that want the same sequence again. */
void tg_rand_init_seed(struct tg_rand *r, uint64_t seed);

uint64_t tg_rand_u64(struct tg_rand *r);

/* Uniform in [0, bound), bound >= 1. */
uint64_t tg_rand_below(struct tg_rand *r, uint64_t bound);

/* `n` bytes from the kernel's generator. */
void tg_rand_secret(void *out, size_t n);

/* 32 lower-case hex digits: 128 random bits; no NUL. */
#define TG_RAND_ID_LEN 32
void tg_rand_id(struct tg_rand *r, char *out);

#endif
