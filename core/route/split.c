/* split.c: see split.h. */
#include "base/banned.h"
#include "route/split.h"

#include "base/assert.h"
#include "base/hash.h"

#include <math.h>

/* Fixed, so that gateways agree on where a key belongs; nothing is gained by choosing a key that
 * falls to some share. */
#define SPLIT_KEY 0x74696465u

uint64_t tg_split_seed(struct tg_str name)
{
    return tg_hash_keyed((struct tg_hash_key){SPLIT_KEY, 0}, name.p, name.n);
}

static uint64_t draw(uint64_t seed, struct tg_str key)
{
    return tg_hash_keyed((struct tg_hash_key){SPLIT_KEY, seed}, key.p, key.n);
}

/* Time until the first event of a process with rate `weight`: the earliest of several comes from
 * each with a probability in proportion to its rate. */
static double arrival(const struct tg_split_share *share, struct tg_str key)
{
    double uniform = ((double)(draw(share->seed, key) >> 11) + 0.5) * 0x1p-53;
    return -log(uniform) / share->weight;
}

uint32_t tg_split_by_key(const struct tg_split_share *shares, uint32_t n, struct tg_str key)
{
    uint32_t best = n;
    double earliest = 0;
    for (uint32_t i = 0; i < n; i++) {
        double at = shares[i].weight > 0 ? arrival(&shares[i], key) : 0;
        if (shares[i].weight > 0 && (best == n || at < earliest)) {
            best = i;
            earliest = at;
        }
    }
    tg_assert(best < n);
    return best;
}

uint32_t tg_split_by_chance(const struct tg_split_share *shares, uint32_t n, uint64_t random)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += shares[i].weight;
    tg_assert(total > 0);
    uint64_t at = random % total;
    for (uint32_t i = 0; i < n; i++) {
        if (at < shares[i].weight)
            return i;
        at -= shares[i].weight;
    }
    return n - 1;
}

bool tg_split_takes(uint64_t seed, uint32_t percent, struct tg_str key)
{
    return draw(seed, key) % TG_SPLIT_WHOLE < percent;
}
