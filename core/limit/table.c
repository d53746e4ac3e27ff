/* table.c: see table.h. A state is copied out of its entry only for a log, whose times are entries
 * of the same map: an entry may move out of reach when another is made.
 */
#include "base/banned.h"
#include "limit/table.h"

#include "base/assert.h"

#define SHARD_BYTES     ((uint64_t)16 << 20)
#define SHARDS_FEW      4u
#define SHARDS_MOST     64u
#define ONE_SHARD_BELOW ((uint64_t)256 << 10)
#define TIMES_PER_ENTRY 2u
#define FLIGHT_FIXED    TG_RATE_KINDS /* kinds in the hash beyond those of limit/rate */
#define FLIGHT_ADAPTIVE (TG_RATE_KINDS + 1)

struct tg_limit_table {
    enum tg_mem_tag tag;
    struct tg_shared_map *map;
};

union state {
    struct tg_rate_state rate;
    struct tg_flight_state flight;
    uint64_t times[TIMES_PER_ENTRY];
};

/* ---- Keys ------------------------------------------------------------------------------------ */

static struct tg_map_key map_key(const struct tg_hash_128 *hash)
{
    return (struct tg_map_key){hash, sizeof(*hash), hash->a};
}

/* What a key of a limit is hashed in: the kind (3 bits), what a log remembers (8 bits) and the
 * period (45 bits). */
static uint64_t domain_of(uint64_t kind, uint64_t times, uint64_t per)
{
    return kind | times << 3 | per << 11;
}

static uint64_t domain_of_rate(const struct tg_rate_rule *rule)
{
    uint64_t times = rule->kind == TG_RATE_LOG ? rule->limit : 0;
    return domain_of((uint64_t)rule->kind, times, rule->per);
}

_Static_assert(FLIGHT_ADAPTIVE<8 && TG_RATE_LOG_MAX<256 && TG_RATE_PER_MAX>> 45 == 0,
               "what domain_of() has room for");

/* The map of `key`, locked. *now, when it is older than what the shard has seen, becomes that. */
static struct tg_map *lease(struct tg_limit_table *table, struct tg_map_key key, uint64_t *now)
{
    struct tg_map *map = tg_shared_map_lease(table->map, key);
    *now = tg_map_time(map, *now);
    return map;
}

/* ---- Rates ----------------------------------------------------------------------------------- */

/* What a state lives on after a change. */
static struct tg_map_terms terms_of(const struct tg_rate_rule *rule)
{
    return (struct tg_map_terms){.ttl = tg_rate_memory(rule)};
}

static enum tg_err take(struct tg_map *map, const struct tg_rate_rule *rule, struct tg_map_key key,
                        uint64_t cost, uint64_t now, struct tg_rate_verdict *out)
{
    struct tg_map_terms terms = terms_of(rule);
    void *value;
    enum tg_err err = tg_map_obtain(map, key, &terms, now, &value);
    if (err != TG_OK)
        return err;
    tg_rate_step(rule, &((union state *)value)->rate, cost, now, out);
    if (out->allowed)
        tg_map_renew(map, value, terms.ttl, now);
    return TG_OK;
}

/* The state of `key`, of which nothing is kept. */
static union state look(struct tg_map *map, struct tg_map_key key, uint64_t now)
{
    const union state *value = tg_map_get(map, key, now);
    return value != NULL ? *value : (union state){0};
}

/* ---- Logs ------------------------------------------------------------------------------------ */

/* The times of one key's log, while its shard is leased. */
struct log {
    struct tg_map *map;
    const struct tg_hash_128 *key;
    struct tg_map_terms terms;
    uint64_t now;
    bool looks_only;
    enum tg_err err;
    union state none; /* what is not there, to be read */
};

/* Number `part` of what belongs to `key`. The low half of `a` stays, for it chooses the shard. */
static struct tg_hash_128 part_of(const struct tg_hash_128 *key, uint32_t part)
{
    uint64_t mixed = (part + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    return (struct tg_hash_128){key->a ^ (mixed & UINT64_C(0xffffffff00000000)), key->b ^ mixed};
}

static uint64_t *time_at(void *arg, uint32_t i)
{
    struct log *log = arg;
    struct tg_hash_128 hash = part_of(log->key, i / TIMES_PER_ENTRY);
    void *value = NULL;
    if (log->looks_only) {
        value = tg_map_get(log->map, map_key(&hash), log->now);
        if (value == NULL)
            value = &log->none;
    } else {
        log->err = tg_map_obtain(log->map, map_key(&hash), &log->terms, log->now, &value);
        if (log->err != TG_OK)
            return NULL;
        tg_map_renew(log->map, value, log->terms.ttl, log->now);
    }
    return &((union state *)value)->times[i % TIMES_PER_ENTRY];
}

static TG_NOT_INLINED enum tg_err take_log(struct tg_map *map, const struct tg_rate_rule *rule,
                                           const struct tg_hash_128 *key, uint64_t cost,
                                           uint64_t now, struct tg_rate_verdict *out)
{
    struct log log = {.map = map, .key = key, .now = now, .looks_only = cost == 0};
    struct tg_rate_times times = {time_at, &log};
    union state state = look(map, map_key(key), now);
    void *value;
    log.terms = terms_of(rule);
    if (!tg_rate_step_log(rule, &state.rate, &times, cost, now, out))
        return log.err;
    if (log.looks_only)
        return TG_OK;
    enum tg_err err = tg_map_obtain(map, map_key(key), &log.terms, now, &value);
    if (err != TG_OK)
        return err;
    *(union state *)value = state;
    tg_map_renew(map, value, log.terms.ttl, now);
    return TG_OK;
}

/* What is asked of a limit less often than to take something from it. */
static TG_NOT_INLINED enum tg_err take_rarely(struct tg_map *map, const struct tg_rate_rule *rule,
                                              const struct tg_hash_128 *hash, uint64_t cost,
                                              uint64_t now, struct tg_rate_verdict *out)
{
    if (rule->kind == TG_RATE_LOG)
        return take_log(map, rule, hash, cost, now, out);
    union state state = look(map, map_key(hash), now);
    tg_rate_step(rule, &state.rate, 0, now, out);
    return TG_OK;
}

enum tg_err tg_limit_table_take(struct tg_limit_table *table, const struct tg_rate_rule *rule,
                                struct tg_str name, uint64_t cost, uint64_t now,
                                struct tg_rate_verdict *out)
{
    struct tg_hash_128 hash = tg_hash_bytes_128(domain_of_rate(rule), name.p, name.n);
    struct tg_map_key key = map_key(&hash);
    struct tg_map *map = lease(table, key, &now);
    enum tg_err err;
    if (TG_LIKELY(cost > 0 && rule->kind != TG_RATE_LOG))
        err = take(map, rule, key, cost, now, out);
    else
        err = take_rarely(map, rule, &hash, cost, now, out);
    tg_shared_map_return(table->map, key, &map);
    return err;
}

/* ---- Work in flight -------------------------------------------------------------------------- */

enum tg_err tg_limit_table_enter(struct tg_limit_table *table, const struct tg_flight_rule *rule,
                                 struct tg_str name, uint64_t now, struct tg_limit_ticket *ticket)
{
    uint64_t kind = rule->latency == 0 ? FLIGHT_FIXED : FLIGHT_ADAPTIVE;
    ticket->key = tg_hash_bytes_128(domain_of(kind, 0, 0), name.p, name.n);
    struct tg_map_key key = map_key(&ticket->key);
    struct tg_map_terms terms = {.pinned = true};
    struct tg_map *map = lease(table, key, &now);
    ticket->rule = *rule;
    ticket->since = now;
    void *value;
    enum tg_err err = tg_map_obtain(map, key, &terms, now, &value);
    if (err == TG_OK) {
        struct tg_flight_state *state = &((union state *)value)->flight;
        bool was_idle = state->in_flight == 0;
        if (!tg_flight_enter(rule, state)) {
            err = TG_E_AGAIN;
        } else if (was_idle) {
            tg_map_renew(map, value, TG_MAP_NEVER, now);
            tg_map_pin(map, key, true, now);
        }
    }
    tg_shared_map_return(table->map, key, &map);
    return err;
}

void tg_limit_table_leave(struct tg_limit_table *table, const struct tg_limit_ticket *ticket,
                          bool failed, uint64_t now)
{
    struct tg_map_key key = map_key(&ticket->key);
    struct tg_map *map = lease(table, key, &now);
    struct tg_flight_end end = {.took = now - ticket->since, .failed = failed};
    void *value = tg_map_get(map, key, now);
    tg_assert(value != NULL); /* pinned, without an end */
    struct tg_flight_state *state = &((union state *)value)->flight;
    tg_flight_leave(&ticket->rule, state, &end, now);
    if (state->in_flight == 0 && ticket->rule.latency == 0) {
        tg_map_remove(map, key, now);
    } else if (state->in_flight == 0) {
        tg_map_renew(map, value, TG_LIMIT_TABLE_IDLE, now);
        tg_map_pin(map, key, false, now);
    }
    tg_shared_map_return(table->map, key, &map);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static unsigned shards_for(uint64_t bytes)
{
    uint64_t shards = bytes / SHARD_BYTES;
    if (bytes < ONE_SHARD_BELOW)
        return 1;
    return (unsigned)TG_MIN(TG_MAX(shards, (uint64_t)SHARDS_FEW), (uint64_t)SHARDS_MOST);
}

struct tg_limit_table *tg_limit_table_new(enum tg_mem_tag tag, uint64_t bytes)
{
    struct tg_map_options options = {.tag = tag,
                                     .policy = TG_MAP_LRU,
                                     .value_size = sizeof(union state),
                                     .key_room = TG_MAP_KEY_ROOM_MIN};
    tg_assert(bytes >= TG_LIMIT_TABLE_BYTES_MIN);
    struct tg_limit_table *table = tg_mem_zalloc(tag, 1, sizeof(*table));
    if (table == NULL)
        return NULL;
    unsigned shards = shards_for(bytes);
    uint64_t of_shard = (bytes - sizeof(*table)) / shards - TG_SHARED_MAP_SHARD_BYTES;
    uint64_t entries = (uint64_t)tg_map_entries_within(&options, of_shard) * shards;
    options.max_entries = (uint32_t)TG_MIN(entries, (uint64_t)TG_MAP_ENTRIES_MAX);
    table->tag = tag;
    table->map = tg_shared_map_new(&options, shards);
    if (table->map != NULL)
        return table;
    tg_mem_free(tag, table);
    return NULL;
}

void tg_limit_table_free(struct tg_limit_table **tablep)
{
    struct tg_limit_table *table = *tablep;
    if (table == NULL)
        return;
    tg_shared_map_free(&table->map);
    tg_mem_free(table->tag, table);
    *tablep = NULL;
}

struct tg_shared_map *tg_limit_table_map(struct tg_limit_table *table)
{
    return table->map;
}
