/* balance.c: see balance.h.
 *
 * `slots` has the usable targets, group after group, with all that a pick reads of a target but its
 * load. */
#include "base/banned.h"
#include "upstream/balance.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

#define REFRESH      (TG_USEC_PER_SEC / 4)
#define SPARE        1.4
#define GROUPS_MAX   16u
#define RANKS        3u    /* of places */
#define WEIGHT_SCALE 64u   /* of effective weights: a warming target has a part of one */
#define BUCKETS_EACH 1024u /* of a hashing balancer, for each target */
#define BUCKETS_MIN  4096u
#define BUCKETS_MAX  65536u
#define RELAXED      memory_order_relaxed

struct target {
    struct tg_origin *origin; /* held */
    uint32_t weight;
    uint32_t group;
    uint64_t hash;  /* of the name, the same in every process */
    int64_t credit; /* of round robin */
    bool usable;    /* at the last refresh */
    struct tg_balance_target conf;
};

/* A usable target. */
struct slot {
    struct tg_origin *origin;
    uint64_t hash;
    uint32_t weight; /* effective, scaled */
    uint32_t index;  /* in targets */
};

struct group {
    unsigned rank;         /* 0: own zone, 1: own region, 2: elsewhere; RANKS for each priority */
    uint64_t latency;      /* mean of its targets, us */
    uint64_t declared;     /* weight of all its targets */
    uint64_t weight;       /* scaled weight of the usable ones */
    uint32_t first, count; /* in slots */
    bool equal;            /* all of the same weight */
    uint32_t turn;
};

struct tg_balance {
    uint32_t refs;
    bool passing;
    const struct tg_policy *policy;
    struct tg_fleet *fleet; /* held */
    uint32_t n;
    uint32_t group_count;
    uint32_t usable;
    bool panic;
    bool fresh;
    bool single;              /* there is one to choose from */
    uint32_t changes;         /* of the fleet, at the last refresh */
    uint64_t again_at;        /* us: the next refresh by time */
    uint8_t near[GROUPS_MAX]; /* groups, the nearest first */
    struct group groups[GROUPS_MAX];
    struct tg_pace *pace; /* NULL: nobody asked */
    struct slot *slots;
    uint16_t *
        buckets; /* of TG_BALANCE_HASH: the slot of each key that falls in; UINT16_MAX: not known */
    uint32_t bucket_count; /* a power of two */
    struct target targets[];
};

/* ---- Life --------------------------------------------------------------------------------------
 */

static unsigned rank_of(const struct tg_balance_target *t, const struct tg_place *place)
{
    if (place->zone.n > 0 && tg_str_eq(t->zone, place->zone))
        return 0;
    if (place->region.n > 0 && tg_str_eq(t->region, place->region))
        return 1;
    return 2;
}

static bool same_group(const struct tg_balance_target *a, const struct tg_balance_target *b,
                       const struct tg_place *place)
{
    bool placed = place->zone.n > 0 || place->region.n > 0;
    return a->priority == b->priority &&
           (!placed || (tg_str_eq(a->zone, b->zone) && tg_str_eq(a->region, b->region)));
}

/* Beyond GROUPS_MAX the last group takes the rest. */
static uint32_t group_of(struct tg_balance *b, const struct tg_balance_target *targets, uint32_t i,
                         const struct tg_place *place)
{
    for (uint32_t k = 0; k < i; k++) {
        if (same_group(&targets[k], &targets[i], place))
            return b->targets[k].group;
    }
    uint32_t group = TG_MIN(b->group_count, GROUPS_MAX - 1);
    b->group_count = group + 1;
    b->groups[group].rank = targets[i].priority * RANKS + rank_of(&targets[i], place);
    return group;
}

static bool make_buckets(struct tg_balance *b)
{
    if (b->policy->balance.kind != TG_BALANCE_HASH)
        return true;
    b->bucket_count = BUCKETS_MIN;
    while (b->bucket_count < b->n * BUCKETS_EACH && b->bucket_count < BUCKETS_MAX)
        b->bucket_count *= 2;
    b->buckets = tg_mem_alloc(TG_MEM_CONFIG, b->bucket_count * sizeof(*b->buckets));
    return b->buckets != NULL;
}

struct tg_balance *tg_balance_new(const struct tg_balance_options *options,
                                  const struct tg_balance_target *targets, uint32_t n)
{
    struct tg_balance *b = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*b) + n * sizeof(b->targets[0]));
    if (b == NULL)
        return NULL;
    b->refs = 1;
    b->passing = options->passing;
    b->policy = options->policy;
    b->n = n;
    b->group_count = n > 0 ? 0 : 1;
    b->slots = tg_mem_zalloc(TG_MEM_CONFIG, TG_MAX(n, 1u), sizeof(*b->slots));
    b->fleet = tg_fleet_ref(options->registry, options->service);
    bool complete = b->slots != NULL && b->fleet != NULL && make_buckets(b);
    for (uint32_t i = 0; i < n && complete; i++) {
        struct target *t = &b->targets[i];
        t->conf = targets[i];
        t->weight = targets[i].weight;
        t->group = group_of(b, targets, i, &options->place);
        t->hash = tg_hash_keyed((struct tg_hash_key){0, 0}, targets[i].name.p, targets[i].name.n);
        t->origin = tg_origin_ref(b->fleet, targets[i].name, &targets[i].addr, options->now);
        b->groups[t->group].declared += t->weight;
        complete = t->origin != NULL;
        if (complete)
            t->conf.name = t->origin->name;
    }
    if (!complete)
        tg_balance_unref(&b, options->now);
    return b;
}

struct tg_balance *tg_balance_ref(struct tg_balance *balance)
{
    balance->refs++;
    return balance;
}

void tg_balance_unref(struct tg_balance **balance, uint64_t now)
{
    struct tg_balance *b = *balance;
    *balance = NULL;
    if (b == NULL || --b->refs > 0)
        return;
    for (uint32_t i = 0; i < b->n; i++)
        tg_origin_unref(&b->targets[i].origin, now);
    tg_fleet_unref(&b->fleet);
    tg_pace_free(&b->pace);
    tg_mem_free(TG_MEM_CONFIG, b->slots);
    tg_mem_free(TG_MEM_CONFIG, b->buckets);
    tg_mem_free(TG_MEM_CONFIG, b);
}

struct tg_pace *tg_balance_pace(struct tg_balance *balance)
{
    if (balance->pace == NULL)
        balance->pace = tg_pace_new();
    return balance->pace;
}

struct tg_origin *tg_balance_origin(struct tg_balance *balance, uint32_t index)
{
    return balance->targets[index].origin;
}

struct tg_fleet *tg_balance_fleet(struct tg_balance *balance)
{
    return balance->fleet;
}

const struct tg_policy *tg_balance_policy(const struct tg_balance *balance)
{
    return balance->policy;
}

uint32_t tg_balance_count(const struct tg_balance *balance)
{
    return balance->n;
}

const struct tg_balance_target *tg_balance_target_at(const struct tg_balance *balance,
                                                     uint32_t index)
{
    tg_assert(index < balance->n);
    return &balance->targets[index].conf;
}

uint32_t tg_balance_find(const struct tg_balance *balance, struct tg_str name)
{
    uint32_t i = 0;
    while (i < balance->n && !tg_str_eq(balance->targets[i].conf.name, name))
        i++;
    return i;
}

bool tg_balance_is_passing(const struct tg_balance *balance)
{
    return balance->passing;
}

/* ---- The lists ---------------------------------------------------------------------------------
 */

/* The weight of a target that came back a while ago, scaled; *warming: it is not whole yet. */
static uint32_t weight_of(const struct tg_balance *b, const struct target *t, uint64_t now,
                          bool *warming)
{
    uint64_t slow = b->policy->balance.slow_start;
    uint64_t since = atomic_load_explicit(&t->origin->since, RELAXED);
    uint64_t whole = (uint64_t)t->weight * WEIGHT_SCALE;
    if (slow == 0 || since == 0 || now >= since + slow)
        return (uint32_t)whole;
    *warming = true;
    uint64_t age = now > since ? now - since : 0;
    return (uint32_t)TG_MAX(whole * age / slow, whole / 10);
}

static void sort_groups(struct tg_balance *b)
{
    for (uint32_t i = 0; i < b->group_count; i++) {
        uint32_t at = i;
        const struct group *g = &b->groups[i];
        for (; at > 0; at--) {
            const struct group *before = &b->groups[b->near[at - 1]];
            if (before->rank < g->rank ||
                (before->rank == g->rank && before->latency <= g->latency))
                break;
            b->near[at] = b->near[at - 1];
        }
        b->near[at] = (uint8_t)i;
    }
}

static void measure_groups(struct tg_balance *b, uint64_t now)
{
    uint64_t sum[GROUPS_MAX] = {0};
    uint32_t known[GROUPS_MAX] = {0};
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t latency = tg_origin_latency(b->targets[i].origin, now);
        sum[b->targets[i].group] += latency;
        known[b->targets[i].group] += latency > 0;
    }
    for (uint32_t g = 0; g < b->group_count; g++)
        b->groups[g].latency = known[g] > 0 ? sum[g] / known[g] : 0;
    sort_groups(b);
}

/* Fills the slots of one group from `at` on; returns how many. */
static uint32_t fill_group(struct tg_balance *b, uint32_t group, uint32_t at, uint64_t now,
                           bool *warming)
{
    struct group *g = &b->groups[group];
    g->first = at;
    g->count = 0;
    g->weight = 0;
    g->equal = true;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct target *t = &b->targets[i];
        if (t->group != group || !(t->usable || b->panic))
            continue;
        struct slot *slot = &b->slots[at + g->count++];
        *slot = (struct slot){t->origin, t->hash, weight_of(b, t, now, warming), i};
        g->weight += slot->weight;
        g->equal = g->equal && slot->weight == b->slots[at].weight;
    }
    return g->count;
}

static void refresh(struct tg_balance *b, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    bool warming = false;
    b->usable = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct target *t = &b->targets[i];
        t->usable = tg_origin_is_usable(t->origin, b->policy, now, &next);
        b->usable += t->usable;
    }
    /* After the loop: letting in what has waited changes it. */
    b->changes = atomic_load_explicit(&b->fleet->changes, memory_order_acquire);
    b->panic = (double)b->usable < b->policy->balance.panic * b->n;
    if (b->group_count > 1)
        measure_groups(b, now);
    uint32_t at = 0;
    for (uint32_t i = 0; i < b->group_count; i++)
        at += fill_group(b, b->near[i], at, now, &warming);
    b->again_at = warming || b->group_count > 1 ? TG_MIN(next, now + REFRESH) : next;
    if (b->buckets != NULL)
        memset(b->buckets, 0xff, b->bucket_count * sizeof(*b->buckets));
    b->fresh = true;
    b->single = at == 1;
}

static inline void keep_fresh(struct tg_balance *b, uint64_t now)
{
    uint32_t changes = atomic_load_explicit(&b->fleet->changes, memory_order_acquire);
    if (TG_UNLIKELY(!b->fresh || changes != b->changes || now >= b->again_at))
        refresh(b, now);
}

uint32_t tg_balance_usable(struct tg_balance *balance, uint64_t now, bool *panic)
{
    keep_fresh(balance, now);
    *panic = balance->panic;
    return balance->usable;
}

/* ---- Choosing within a group -------------------------------------------------------------------
 */

static bool is_tried(const struct tg_balance_ask *ask, const struct slot *slot)
{
    for (uint32_t i = 0; i < ask->tried_count; i++) {
        if (ask->tried[i] == slot->index)
            return true;
    }
    return false;
}

/* The first slot from `at` on that was not tried; round the group. */
static const struct slot *untried_from(const struct tg_balance *b, const struct group *g,
                                       const struct tg_balance_ask *ask, uint32_t at)
{
    for (uint32_t i = 0; i < g->count; i++) {
        const struct slot *slot = &b->slots[g->first + (at + i) % g->count];
        if (!is_tried(ask, slot))
            return slot;
    }
    return NULL;
}

static const struct slot *pick_round_robin(struct tg_balance *b, struct group *g,
                                           const struct tg_balance_ask *ask)
{
    const struct slot *best = NULL;
    int64_t most = INT64_MIN, sum = 0;
    if (g->equal)
        return untried_from(b, g, ask, g->turn++ % g->count);
    for (uint32_t i = 0; i < g->count; i++) {
        const struct slot *slot = &b->slots[g->first + i];
        int64_t *credit = &b->targets[slot->index].credit;
        if (is_tried(ask, slot))
            continue;
        *credit += slot->weight;
        sum += slot->weight;
        if (*credit > most) {
            most = *credit;
            best = slot;
        }
    }
    if (best != NULL)
        b->targets[best->index].credit -= sum;
    return best;
}

static const struct slot *pick_least(struct tg_balance *b, struct group *g,
                                     const struct tg_balance_ask *ask)
{
    const struct slot *best = NULL;
    uint64_t best_load = 0;
    uint32_t at = g->turn++ % g->count;
    for (uint32_t i = 0; i < g->count; i++, at++) {
        if (at == g->count)
            at = 0;
        const struct slot *slot = &b->slots[g->first + at];
        uint64_t load = atomic_load_explicit(&slot->origin->in_flight, RELAXED) + UINT64_C(1);
        if (best != NULL && load * best->weight >= best_load * slot->weight)
            continue;
        if (is_tried(ask, slot))
            continue;
        best = slot;
        best_load = load;
    }
    return best;
}

/* Whether `a` is likely to answer sooner; a target whose latency is not known is judged by load. */
static bool is_sooner(const struct slot *a, const struct slot *b, uint64_t now)
{
    uint64_t of_a = tg_origin_latency(a->origin, now);
    uint64_t of_b = tg_origin_latency(b->origin, now);
    if (of_a == 0 || of_b == 0)
        of_a = of_b = 1;
    uint64_t load_a = atomic_load_explicit(&a->origin->in_flight, RELAXED) + UINT64_C(1);
    uint64_t load_b = atomic_load_explicit(&b->origin->in_flight, RELAXED) + UINT64_C(1);
    return (double)of_a * (double)load_a * b->weight < (double)of_b * (double)load_b * a->weight;
}

static const struct slot *pick_latency(struct tg_balance *b, struct group *g,
                                       const struct tg_balance_ask *ask)
{
    uint32_t at = (uint32_t)tg_rand_below(ask->rand, g->count);
    const struct slot *first = untried_from(b, g, ask, at);
    if (first == NULL || g->count == 1)
        return first;
    uint32_t other = (uint32_t)tg_rand_below(ask->rand, g->count - 1);
    uint32_t of_first = (uint32_t)(first - &b->slots[g->first]);
    const struct slot *second = untried_from(b, g, ask, (of_first + 1 + other) % g->count);
    return is_sooner(second, first, ask->now) ? second : first;
}

static const struct slot *pick_random(struct tg_balance *b, struct group *g,
                                      const struct tg_balance_ask *ask)
{
    if (g->equal)
        return untried_from(b, g, ask, (uint32_t)tg_rand_below(ask->rand, g->count));
    uint64_t left = tg_rand_below(ask->rand, g->weight);
    uint32_t at = 0;
    while (at + 1 < g->count && left >= b->slots[g->first + at].weight)
        left -= b->slots[g->first + at++].weight;
    return untried_from(b, g, ask, at);
}

/* ---- Hashing -----------------------------------------------------------------------------------
 */

/* 64 bits of which each depends on each of both arguments (the finish of splitmix64). */
static inline uint64_t mix(uint64_t key, uint64_t hash)
{
    uint64_t x = key ^ hash;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* ln of a number in (0, 1) from 24 bits of `x`, to some thousandths (a polynomial of degree 4 over
 * the mantissa): rendezvous by weight needs that every process computes the same, and soon. */
static inline float ln_of(uint64_t x)
{
    float f = ((float)(x >> 40) + 0.5f) * 0x1p-24f;
    float m;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    float exponent = (float)((int32_t)(bits >> 23) - 127);
    bits = (bits & 0x7fffffu) | 0x3f800000u;
    memcpy(&m, &bits, sizeof(m));
    float mantissa = 0.44717955f - 0.056570851f * m;
    mantissa = -1.4699568f + mantissa * m;
    mantissa = -1.7417939f + (2.8212026f + mantissa * m) * m;
    return exponent * 0.69314718f + mantissa;
}

/* Keys are hashed into buckets, and it is buckets that targets are chosen for: a bucket's choice
 * holds until the lists change, so most picks are one look. */
static uint64_t bucket_of(const struct tg_balance *b, uint64_t key)
{
    return mix(key, 0) & (b->bucket_count - 1);
}

/* Whether `slot` has as much as `bound` times its share of what is under way. */
static bool is_full(const struct tg_balance *b, const struct slot *slot, uint64_t weights)
{
    double bound = b->policy->balance.bound;
    uint32_t all = atomic_load_explicit(&b->fleet->in_flight, RELAXED);
    uint32_t load = atomic_load_explicit(&slot->origin->in_flight, RELAXED);
    double share = bound * ((double)all + 1) * slot->weight / (double)weights;
    return (double)load + 1 > share && load > 0;
}

static const struct slot *highest(const struct tg_balance *b, const struct group *g,
                                  const struct tg_balance_ask *ask, bool bounded)
{
    const struct slot *best = NULL;
    uint64_t bucket = mix(bucket_of(b, ask->key), 1);
    uint64_t most = 0;
    float most_weighted = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        const struct slot *slot = &b->slots[g->first + i];
        uint64_t score = mix(bucket, slot->hash);
        float weighted = g->equal ? 0 : ln_of(score) / (float)slot->weight;
        if (best != NULL && (g->equal ? score <= most : weighted <= most_weighted))
            continue;
        if (is_tried(ask, slot) || (bounded && is_full(b, slot, g->weight)))
            continue;
        best = slot;
        most = score;
        most_weighted = weighted;
    }
    return best;
}

/* What a bucket's choice is with all of the group to choose from. */
static const struct slot *own_slot(struct tg_balance *b, const struct group *g,
                                   const struct tg_balance_ask *ask)
{
    struct tg_balance_ask untried = {.key = ask->key};
    uint16_t *cached = &b->buckets[bucket_of(b, ask->key)];
    if (*cached >= g->first && *cached < g->first + g->count)
        return &b->slots[*cached];
    const struct slot *best = highest(b, g, &untried, false);
    *cached = (uint16_t)(best - b->slots);
    return best;
}

static const struct slot *pick_hash(struct tg_balance *b, struct group *g,
                                    const struct tg_balance_ask *ask)
{
    if (!ask->keyed)
        return pick_random(b, g, ask);
    const struct slot *own = own_slot(b, g, ask);
    bool bounded = b->policy->balance.bound > 0;
    if (!is_tried(ask, own) && !(bounded && is_full(b, own, g->weight)))
        return own;
    const struct slot *next = highest(b, g, ask, bounded);
    return next != NULL ? next : highest(b, g, ask, false);
}

/* ---- Choosing ----------------------------------------------------------------------------------
 */

static const struct slot *pick_in(struct tg_balance *b, struct group *g,
                                  const struct tg_balance_ask *ask)
{
    if (g->count == 0)
        return NULL;
    switch (b->policy->balance.kind) {
    case TG_BALANCE_ROUND_ROBIN:
        return pick_round_robin(b, g, ask);
    case TG_BALANCE_LEAST_REQUESTS:
        return pick_least(b, g, ask);
    case TG_BALANCE_LATENCY:
        return pick_latency(b, g, ask);
    case TG_BALANCE_HASH:
        return pick_hash(b, g, ask);
    case TG_BALANCE_RANDOM:
        return pick_random(b, g, ask);
    }
    return NULL;
}

/* The share of the requests that a group can take, 0..1. */
static double capacity(const struct group *g)
{
    double whole = (double)g->declared * WEIGHT_SCALE;
    return whole > 0 ? TG_MIN(SPARE * (double)g->weight / whole, 1.0) : 0;
}

/* The place in `near` of the group that takes this request. */
static uint32_t choose_group(struct tg_balance *b, struct tg_rand *rand)
{
    double all = 0;
    for (uint32_t i = 0; i < b->group_count && all < 1; i++)
        all += capacity(&b->groups[b->near[i]]);
    if (all <= 0)
        return 0;
    double at = (double)(tg_rand_u64(rand) >> 11) * 0x1p-53 * TG_MIN(all, 1.0);
    for (uint32_t i = 0; i < b->group_count; i++) {
        at -= capacity(&b->groups[b->near[i]]);
        if (at < 0)
            return i;
    }
    return 0;
}

static const struct slot *pick_anywhere(struct tg_balance *b, const struct tg_balance_ask *ask)
{
    if (TG_LIKELY(b->group_count == 1))
        return pick_in(b, &b->groups[0], ask);
    uint32_t first = choose_group(b, ask->rand);
    for (uint32_t i = 0; i < b->group_count; i++) {
        uint32_t at = (first + i) % b->group_count;
        const struct slot *slot = pick_in(b, &b->groups[b->near[at]], ask);
        if (slot != NULL)
            return slot;
    }
    return NULL;
}

struct tg_origin *tg_balance_single(struct tg_balance *balance, uint64_t now, uint32_t *index)
{
    keep_fresh(balance, now);
    if (!balance->single)
        return NULL;
    *index = balance->slots[0].index;
    return balance->slots[0].origin;
}

enum tg_err tg_balance_pick(struct tg_balance *balance, const struct tg_balance_ask *ask,
                            uint32_t *index)
{
    keep_fresh(balance, ask->now);
    if (balance->single) { /* nothing to choose */
        *index = balance->slots[0].index;
        return TG_OK;
    }
    const struct slot *slot = pick_anywhere(balance, ask);
    if (slot == NULL && ask->tried_count > 0) {
        struct tg_balance_ask again = *ask;
        again.tried_count = 0;
        slot = pick_anywhere(balance, &again);
    }
    if (slot == NULL)
        return TG_E_UNAVAILABLE;
    *index = slot->index;
    return TG_OK;
}

bool tg_balance_has_other(struct tg_balance *balance, const struct tg_balance_ask *ask)
{
    keep_fresh(balance, ask->now);
    for (uint32_t i = 0; i < balance->group_count; i++) {
        const struct group *g = &balance->groups[i];
        if (g->count > 0 && untried_from(balance, g, ask, 0) != NULL)
            return true;
    }
    return false;
}
