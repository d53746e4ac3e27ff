/* map_model.h: the bounded map's rules on a plain array, and random operations to compare on.
 *
 * The model holds up to MODEL_MAX entries in the order of the queue, youngest first, and does every
 * step by walking the array. It counts what leaves by reason, and keeps a sum over keys and values
 * of the leavers, which the map's callback must arrive at too.
 */
#ifndef MAP_MODEL_H
#define MAP_MODEL_H

#include "base/map.h"

#define MODEL_MAX  64
#define MODEL_KEYS 40

struct model_entry {
    unsigned key; /* 0..MODEL_KEYS-1 */
    uint64_t value;
    uint64_t expires; /* 0: never */
    uint32_t cost;
    unsigned uses;
    bool pinned; /* then not in the queue: stands behind it */
};

struct model {
    struct tg_map_options options;
    uint64_t entry_bytes;
    struct model_entry e[MODEL_MAX];
    unsigned n;
    uint64_t left[TG_MAP_REASONS];
    uint64_t sum[TG_MAP_REASONS];
};

/* A source of choices: random numbers in a test, input bytes in a fuzzer. */
struct model_source {
    unsigned (*below)(void *arg, unsigned bound);
    void *arg;
};

static inline unsigned model_pick(const struct model_source *s, unsigned bound)
{
    return s->below(s->arg, bound);
}

/* Keys of all kinds: empty, short, just fitting, stored as a hash; all start differently. */
static inline struct tg_map_key model_key(unsigned key, char *room)
{
    static const size_t sizes[] = {2, 16, 17, 64, 65, 200};
    size_t n = key == 0 ? 0 : sizes[key % TG_COUNT_OF(sizes)];
    memset(room, 'k', 256);
    room[0] = (char)('0' + key % 10);
    room[1] = (char)('0' + key / 10);
    return tg_map_key(room, n);
}

static inline int model_find(const struct model *m, unsigned key)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (m->e[i].key == key)
            return (int)i;
    }
    return -1;
}

static inline uint64_t model_bytes(const struct model *m, bool pinned_only)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < m->n; i++) {
        if (!pinned_only || m->e[i].pinned)
            sum += m->entry_bytes + m->e[i].cost;
    }
    return sum;
}

static inline void model_take_out(struct model *m, unsigned at)
{
    memmove(&m->e[at], &m->e[at + 1], (m->n - at - 1) * sizeof(m->e[0]));
    m->n--;
}

static inline void model_put(struct model *m, struct model_entry e, unsigned at)
{
    memmove(&m->e[at + 1], &m->e[at], (m->n - at) * sizeof(m->e[0]));
    m->e[at] = e;
    m->n++;
}

static inline void model_make_young(struct model *m, unsigned at)
{
    struct model_entry e = m->e[at];
    model_take_out(m, at);
    model_put(m, e, 0);
}

static inline void model_leave(struct model *m, unsigned at, enum tg_map_reason reason)
{
    m->left[reason]++;
    m->sum[reason] += m->e[at].value * 31 + m->e[at].cost;
    if (reason != TG_MAP_REPLACED)
        model_take_out(m, at);
}

static inline bool model_expired(const struct model_entry *e, uint64_t now)
{
    return e->expires != 0 && e->expires <= now;
}

static inline uint64_t model_worth(const struct model *m, const struct model_entry *e)
{
    if (m->options.policy == TG_MAP_TTL)
        return e->expires != 0 ? e->expires : UINT64_MAX;
    return e->uses;
}

static inline unsigned model_youngest(const struct model *m)
{
    unsigned i = 0;
    while (m->e[i].pinned)
        i++;
    return i;
}

static inline void model_evict(struct model *m, uint64_t now)
{
    unsigned keys[TG_MAP_LOOK] = {0}, count = 0, victim = 0;
    uint64_t least = UINT64_MAX;
    for (unsigned i = m->n; i-- > 0 && count < TG_MAP_LOOK && least != 0;) {
        const struct model_entry *e = &m->e[i];
        if (e->pinned)
            continue;
        uint64_t worth = model_expired(e, now) ? 0 : model_worth(m, e);
        if (worth < least) {
            least = worth;
            victim = count;
        }
        keys[count++] = e->key;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (unsigned)model_find(m, keys[i]);
        struct model_entry *e = &m->e[at];
        if (i == victim)
            continue;
        if (m->options.policy != TG_MAP_TTL)
            e->uses = m->options.policy == TG_MAP_LFU ? e->uses / 2 : 0;
        else if (model_worth(m, e) <= model_worth(m, &m->e[model_youngest(m)]))
            continue;
        model_make_young(m, at);
    }
    unsigned at = (unsigned)model_find(m, keys[victim]);
    model_leave(m, at, model_expired(&m->e[at], now) ? TG_MAP_EXPIRED : TG_MAP_CAPACITY);
}

/* Drops the entry of `key` when it has expired; its place otherwise, -1 for none. */
static inline int model_find_live(struct model *m, unsigned key, uint64_t now)
{
    int at = model_find(m, key);
    if (at < 0 || !model_expired(&m->e[at], now))
        return at;
    model_leave(m, (unsigned)at, TG_MAP_EXPIRED);
    return -1;
}

static inline void model_use(const struct model *m, struct model_entry *e)
{
    e->uses = TG_MIN(e->uses + 1, m->options.policy == TG_MAP_LFU ? 127u : 1u);
}

static inline const struct model_entry *model_get(struct model *m, unsigned key, uint64_t now)
{
    int at = model_find_live(m, key, now);
    if (at < 0)
        return NULL;
    model_use(m, &m->e[at]);
    return &m->e[at];
}

static inline bool model_over(const struct model *m, uint64_t bytes, unsigned entries)
{
    return m->n + entries > m->options.max_entries ||
           (m->options.max_bytes != 0 && model_bytes(m, false) + bytes > m->options.max_bytes);
}

static inline enum tg_err model_set(struct model *m, unsigned key, uint64_t value,
                                    const struct tg_map_terms *terms, uint64_t now)
{
    int at = model_find_live(m, key, now);
    struct model_entry e = {.key = key};
    uint64_t bytes = m->entry_bytes + terms->cost;
    uint64_t fixed = model_bytes(m, true);
    unsigned pinned = 0;
    bool stays = false;
    for (unsigned i = 0; i < m->n; i++)
        pinned += m->e[i].pinned && (int)i != at;
    if (at >= 0 && m->e[at].pinned)
        fixed -= m->entry_bytes + m->e[at].cost;
    if (pinned >= m->options.max_entries ||
        (m->options.max_bytes != 0 && fixed + bytes > m->options.max_bytes))
        return TG_E_LIMIT;
    if (at >= 0) {
        model_leave(m, (unsigned)at, TG_MAP_REPLACED);
        model_use(m, &m->e[at]);
        e = m->e[at];
        model_take_out(m, (unsigned)at);
        stays = !model_over(m, bytes, 1) && m->options.policy != TG_MAP_TTL && !e.pinned;
    }
    while (model_over(m, bytes, 1))
        model_evict(m, now);
    e.value = value;
    e.cost = terms->cost;
    e.expires = terms->ttl != TG_MAP_NEVER ? now + terms->ttl : 0;
    e.pinned = terms->pinned;
    model_put(m, e, stays ? (unsigned)at : 0); /* replaced in its place, or the youngest */
    return TG_OK;
}

static inline bool model_pin(struct model *m, unsigned key, bool pinned, uint64_t now)
{
    int at = model_find_live(m, key, now);
    if (at < 0)
        return false;
    if (m->e[at].pinned && !pinned)
        model_make_young(m, (unsigned)at);
    m->e[m->e[at].key == key ? at : 0].pinned = pinned;
    return true;
}

static inline void model_sweep(struct model *m, uint64_t now)
{
    for (unsigned i = m->n; i-- > 0;) {
        if (model_expired(&m->e[i], now))
            model_leave(m, i, TG_MAP_EXPIRED);
    }
}

/* ---- Random operations on both ------------------------------------------------------------- */

struct model_run {
    struct model model;
    struct tg_map *map;
    uint64_t sum[TG_MAP_REASONS]; /* from the map's callback */
    uint64_t now;
};

static inline void model_on_leave(void *arg, const struct tg_map_leaver *leaver,
                                  enum tg_map_reason reason)
{
    struct model_run *run = arg;
    uint64_t value;
    memcpy(&value, leaver->value, sizeof(value));
    run->sum[reason] += value * 31 + leaver->cost;
}

static inline bool model_run_open(struct model_run *run, const struct model_source *s)
{
    struct tg_map_options *o = &run->model.options;
    memset(run, 0, sizeof(*run));
    *o = (struct tg_map_options){.tag = TG_MEM_OTHER,
                                 .policy = (enum tg_map_policy)model_pick(s, 3),
                                 .max_entries = 1 + model_pick(s, 30),
                                 .max_bytes = model_pick(s, 2) * (100 + model_pick(s, 3000)),
                                 .value_size = sizeof(uint64_t),
                                 .key_room = 16 + 16 * model_pick(s, 4),
                                 .on_leave = model_on_leave,
                                 .arg = run};
    run->model.entry_bytes = 24 + o->key_room + o->value_size;
    run->now = 1000 + model_pick(s, 1000);
    run->map = tg_map_new(o);
    return run->map != NULL;
}

/* Do all statistics and the stories of the leavers agree? */
static inline bool model_agrees(const struct model_run *run)
{
    const struct tg_map_stats *stats = tg_map_stats(run->map);
    for (int i = 0; i < TG_MAP_REASONS; i++) {
        if (stats->left[i] != run->model.left[i] || run->sum[i] != run->model.sum[i])
            return false;
    }
    return stats->entries == run->model.n && stats->bytes == model_bytes(&run->model, false);
}

static inline bool model_step_set(struct model_run *run, const struct model_source *s,
                                  struct tg_map_key key, unsigned number)
{
    static const uint64_t ttls[] = {0, 1, 50, 50, 400};
    struct tg_map_terms terms = {.ttl = ttls[model_pick(s, TG_COUNT_OF(ttls))],
                                 .cost = model_pick(s, 4) * model_pick(s, 200),
                                 .pinned = model_pick(s, 12) == 0};
    uint64_t value = run->now * 1000 + number;
    return tg_map_set(run->map, key, &value, &terms, run->now) ==
           model_set(&run->model, number, value, &terms, run->now);
}

/* One random operation on both; false when they differ. */
static inline bool model_step(struct model_run *run, const struct model_source *s)
{
    char room[256];
    unsigned number = model_pick(s, MODEL_KEYS), choice = model_pick(s, 20);
    struct tg_map_key key = model_key(number, room);
    bool pin = choice == 17;
    run->now += model_pick(s, 8);
    if (choice < 8) {
        const struct model_entry *want = model_get(&run->model, number, run->now);
        const uint64_t *got = tg_map_get(run->map, key, run->now);
        return (got == NULL) == (want == NULL) && (got == NULL || *got == want->value);
    }
    if (choice < 15)
        return model_step_set(run, s, key, number) && model_agrees(run);
    if (choice < 17) {
        int at = model_find_live(&run->model, number, run->now);
        if (at >= 0)
            model_leave(&run->model, (unsigned)at, TG_MAP_REMOVED);
        return tg_map_remove(run->map, key, run->now) == (at >= 0) && model_agrees(run);
    }
    if (choice < 19)
        return tg_map_pin(run->map, key, pin, run->now) ==
               model_pin(&run->model, number, pin, run->now);
    model_sweep(&run->model, run->now);
    while (!tg_map_sweep(run->map, run->now, 3, UINT64_MAX))
        ;
    return model_agrees(run);
}

#endif
