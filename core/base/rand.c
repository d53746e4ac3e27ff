/* rand.c: xoshiro256++ and the kernel's generator. */
#include "base/banned.h"
#include "base/rand.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/random.h>

void tg_rand_secret(void *out, size_t n)
{
    unsigned char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) /* a signal, before anything was copied */
            continue;
        tg_assert(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

void tg_rand_init(struct tg_rand *r)
{
    tg_rand_secret(r->s, sizeof(r->s));
    r->s[0] |= 1; /* the all-zero state is the one that never leaves */
}

void tg_rand_init_seed(struct tg_rand *r, uint64_t seed)
{
    for (size_t i = 0; i < TG_COUNT_OF(r->s); i++) { /* splitmix64 */
        uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        r->s[i] = z ^ (z >> 31);
    }
}

static inline uint64_t rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t tg_rand_u64(struct tg_rand *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t tg_rand_below(struct tg_rand *r, uint64_t bound)
{
    tg_assert(bound > 0);
    uint64_t threshold = (UINT64_C(0) - bound) % bound; /* values below it would be favoured */
    uint64_t value;
    do {
        value = tg_rand_u64(r);
    } while (value < threshold);
    return value % bound;
}

/* Eight nibbles, one in each byte of `n`, as hex digits: 39 lies between '9' + 1 and 'a'. */
static uint64_t hex_digits(uint64_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t letters = (n + ones * 6) >> 4 & ones;
    return n + ones * '0' + letters * 39;
}

void tg_rand_id(struct tg_rand *r, char *out)
{
    const uint64_t nibbles = UINT64_C(0x0f0f0f0f0f0f0f0f);
    for (int word = 0; word < 2; word++) {
        uint64_t v = tg_rand_u64(r);
        uint64_t digits[2] = {hex_digits(v & nibbles), hex_digits(v >> 4 & nibbles)};
        memcpy(out + (size_t)word * 16, digits, 16);
    }
}
