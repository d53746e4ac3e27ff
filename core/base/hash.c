/* hash.c: see hash.h. The process's keys are drawn once, before main(), and only read afterwards.
 *
 * The hash by AES chains blocks of 16 bytes as a CBC-MAC does, with four rounds for each in place
 * of ten, as in Pelican (Daemen, Rijmen: "The MAC function Pelican 2.0", 2005):
 *
 *     state = key 0; for each block: state ^= block, four rounds under keys 1 to 4
 *
 * Four rounds mix every bit into all others: no difference of two blocks comes out as a chosen one
 * with more than 2^-113 (the designers' bound for four rounds with independent keys), and what
 * comes out is not shown to anybody. The last block overlaps the one before, or is filled up with
 * zeroes; the length tells apart what would be equal then. Where 128 bits stand for the bytes it
 * is a block of its own before them, with the domain; for 64 bits it changes key 1, which costs no
 * time. (Beside the first block, before any round, it would be of no use: a block that differs from
 * another by the same bits undoes it.)
 */
#include "base/banned.h"
#include "base/hash.h"

#include "base/assert.h"

#include <sys/random.h>

static struct {
    struct tg_hash_key sip;
    unsigned char aes[5][16];
} keys;

static bool has_aes;

__attribute__((constructor)) static void draw_keys(void)
{
    tg_assert(getrandom(&keys, sizeof(keys), 0) == (ssize_t)sizeof(keys));
#ifdef __x86_64__
    has_aes = __builtin_cpu_supports("aes");
#endif
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

/* ---- This process's own ---------------------------------------------------------------------- */

static struct tg_hash_128 hash_128_by_sip(uint64_t domain, const void *p, size_t n)
{
    return tg_hash_keyed_128((struct tg_hash_key){keys.sip.k0 ^ domain, keys.sip.k1}, p, n);
}

#ifdef __x86_64__
#define BY_AES __attribute__((target("aes")))

typedef long long block __attribute__((vector_size(16)));

static inline BY_AES block load(const void *p)
{
    block b;
    memcpy(&b, p, sizeof(b));
    return b;
}

static inline BY_AES long long load_half(const void *p)
{
    long long half;
    memcpy(&half, p, sizeof(half));
    return half;
}

static inline BY_AES block mix(block state, block next, block first_key)
{
    state = __builtin_ia32_aesenc128(state ^ next, first_key);
    state = __builtin_ia32_aesenc128(state, load(keys.aes[2]));
    state = __builtin_ia32_aesenc128(state, load(keys.aes[3]));
    return __builtin_ia32_aesenc128(state, load(keys.aes[4]));
}

/* Of all lengths but the usual ones. Not inlined, so that those need not make room for it. */
static TG_NOT_INLINED BY_AES block mix_any(block state, const unsigned char *p, size_t n,
                                           block first_key)
{
    if (n < 8)
        return mix(state, (block){(long long)tail_of(p, n), 0}, first_key);
    for (size_t i = 0; i + 16 < n; i += 16)
        state = mix(state, load(p + i), first_key);
    return mix(state, load(p + n - 16), first_key);
}

/* 8 to 16 bytes, as most keys have, are two halves that overlap. */
static inline BY_AES block mix_all(block state, const unsigned char *p, size_t n, block first_key)
{
    if (TG_LIKELY(n - 8 <= 8))
        return mix(state, (block){load_half(p), load_half(p + n - 8)}, first_key);
    return mix_any(state, p, n, first_key);
}

static BY_AES uint64_t hash_by_aes(const unsigned char *p, size_t n)
{
    block length = {(long long)n, 0};
    return (uint64_t)mix_all(load(keys.aes[0]), p, n, load(keys.aes[1]) ^ length)[0];
}

static BY_AES struct tg_hash_128 hash_128_by_aes(uint64_t domain, const unsigned char *p, size_t n)
{
    block prefix = {(long long)domain, (long long)n}, key = load(keys.aes[1]);
    block out = mix_all(mix(load(keys.aes[0]), prefix, key), p, n, key);
    return (struct tg_hash_128){(uint64_t)out[0], (uint64_t)out[1]};
}
#else
static uint64_t hash_by_aes(const unsigned char *p, size_t n)
{
    return tg_hash_keyed(keys.sip, p, n);
}

static struct tg_hash_128 hash_128_by_aes(uint64_t domain, const unsigned char *p, size_t n)
{
    return hash_128_by_sip(domain, p, n);
}
#endif

uint64_t tg_hash_bytes(const void *p, size_t n)
{
    return TG_LIKELY(has_aes) ? hash_by_aes(p, n) : tg_hash_keyed(keys.sip, p, n);
}

struct tg_hash_128 tg_hash_bytes_128(uint64_t domain, const void *p, size_t n)
{
    return TG_LIKELY(has_aes) ? hash_128_by_aes(domain, p, n) : hash_128_by_sip(domain, p, n);
}
