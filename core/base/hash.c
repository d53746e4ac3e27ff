/* hash.c: SipHash-1-3. The key is drawn once, before main(), and only read afterwards. */
#include "base/banned.h"
#include "base/hash.h"

#include "base/assert.h"

#include <sys/random.h>

static struct tg_hash_key process_key;

__attribute__((constructor)) static void draw_key(void)
{
    tg_assert(getrandom(&process_key, sizeof(process_key), 0) == (ssize_t)sizeof(process_key));
}

static inline uint64_t rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* The last n % 8 of `n` bytes, zeroes above them. A loop over single bytes would take as long as
 * the hash of a short key. */
static inline uint64_t tail_of(const unsigned char *p, size_t n)
{
    size_t rest = n & 7;
    uint64_t word = 0;
    if (rest == 0)
        return 0;
    if (n >= 8) {
        memcpy(&word, p + n - 8, 8);
        return word >> (64 - 8 * rest);
    }
    for (size_t i = 0; i < rest; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

/* The state after all bytes, before it is finished. */
static inline struct state absorb_all(struct tg_hash_key key, const void *data, size_t n,
                                      uint64_t variant)
{
    const unsigned char *p = data;
    struct state s = {
        key.k0 ^ UINT64_C(0x736f6d6570736575),
        key.k1 ^ UINT64_C(0x646f72616e646f6d) ^ variant,
        key.k0 ^ UINT64_C(0x6c7967656e657261),
        key.k1 ^ UINT64_C(0x7465646279746573),
    };
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8); /* little endian, as all targets are */
        absorb(&s, word);
    }
    absorb(&s, tail_of(p, n) | (uint64_t)n << 56);
    return s;
}

static inline uint64_t finish(struct state *s)
{
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t tg_hash_keyed(struct tg_hash_key key, const void *p, size_t n)
{
    struct state s = absorb_all(key, p, n, 0);
    s.v2 ^= 0xff;
    return finish(&s);
}

struct tg_hash_128 tg_hash_keyed_128(struct tg_hash_key key, const void *p, size_t n)
{
    struct tg_hash_128 out;
    struct state s = absorb_all(key, p, n, 0xee);
    s.v2 ^= 0xee;
    out.a = finish(&s);
    s.v1 ^= 0xdd;
    out.b = finish(&s);
    return out;
}

uint64_t tg_hash_bytes(const void *p, size_t n)
{
    return tg_hash_keyed(process_key, p, n);
}
