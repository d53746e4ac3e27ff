/* table.h: the keyed counter table: who has used how much, for every limit of a zone.
 *
 *     rule + key --hash, 128 bits--> base/shared_map --> 16 bytes of state
 *                                                         --> limit/rate, limit/flight
 *
 * A key is any bytes of any length; what is kept is its hash under the process's own key, never the
 * bytes. Algorithm and period are hashed with it (for a log the limit too), so limits on one
 * key that differ in these have states of their own, while a limit that is raised or lowered goes
 * on counting.
 *
 * Exact. A step runs under the lock of the key's shard, so of many threads that ask at once exactly
 * as many are granted as the rule says. A lock, not a compare-and-swap on the state: the look-up,
 * the order of use and the entry's time change with it, and all of that takes less time than a
 * missed cache line. Shards are few (one for 16 MiB, from 4 to 64): a step holds a lock for some
 * 100 ns, and every further shard costs room that its neighbours cannot use.
 *
 * Bounded. The table holds no more than `bytes`, entries, index and all. It is the bounded map of
 * base/map.h with its LRU, at 61.3 bytes a key: a key that is not asked for goes when its state
 * says nothing any more (at the latest one period, for a sliding window two, for a bucket the time
 * to fill, after its last grant), or earlier under pressure, which is counted: tg_map_stats.left.
 * So a key that is idle for an hour is gone unless its limit remembers longer than that. Where work
 * is in flight, the key stays (pinned) until it has ended; an adaptive bound stays for
 * TG_LIMIT_TABLE_IDLE after that.
 *
 * A log has one entry for two of its times, in the shard of its key. Under pressure some of them
 * may go before the others: what is not known any more does not count.
 *
 * Time: us of a clock that does not go back, shared by all callers; one that comes with an older
 * reading than the shard has seen is taken to come now. Threads: any, all functions but
 * new, free and sweep. Cost: one hash, one lock, one look-up and one step. In a large table the
 * look-up's two misses are most of it (base/map.h): spec/bench/micro/limit_bench.c measures them by
 * themselves beside it.
 */
#ifndef TG_LIMIT_TABLE_H
#define TG_LIMIT_TABLE_H

#include "base/err.h"
#include "base/shared_map.h"
#include "base/str.h"
#include "limit/flight.h"
#include "limit/rate.h"

#define TG_LIMIT_TABLE_BYTES_MIN ((uint64_t)64 << 10)
#define TG_LIMIT_TABLE_IDLE      (UINT64_C(3600) * TG_USEC_PER_SEC)

struct tg_limit_table;

/* A table of at most `bytes` (TG_LIMIT_TABLE_BYTES_MIN at least), charged to `tag`; owned by the
 * caller; NULL when memory is out. */
struct tg_limit_table *tg_limit_table_new(enum tg_mem_tag tag, uint64_t bytes) TG_MUST_USE;

/* No key may have work in flight. Frees and nulls; NULL is fine. */
void tg_limit_table_free(struct tg_limit_table **table);

/* Asks for `cost` units for `key` under `rule`, which is sound; 0 only looks, and makes no entry.
 * TG_E_LIMIT: all entries have work in flight; TG_E_NOMEM; nothing was granted then. */
enum tg_err tg_limit_table_take(struct tg_limit_table *table, const struct tg_rate_rule *rule,
                                struct tg_str key, uint64_t cost, uint64_t now,
                                struct tg_rate_verdict *out) TG_MUST_USE;

/* A piece of work in flight: what leave() needs. */
struct tg_limit_ticket {
    struct tg_hash_128 key;
    struct tg_flight_rule rule;
    uint64_t since;
};

/* One more in flight for `key` under `rule`, which is sound: *ticket, to be given to leave() once.
 * TG_E_AGAIN: as many as may be are; TG_E_LIMIT, TG_E_NOMEM as above. */
enum tg_err tg_limit_table_enter(struct tg_limit_table *table, const struct tg_flight_rule *rule,
                                 struct tg_str key, uint64_t now,
                                 struct tg_limit_ticket *ticket) TG_MUST_USE;

/* It has ended. */
void tg_limit_table_leave(struct tg_limit_table *table, const struct tg_limit_ticket *ticket,
                          bool failed, uint64_t now);

/* The map behind it: for sweeps, statistics and metrics. Borrowed. */
struct tg_shared_map *tg_limit_table_map(struct tg_limit_table *table);

#endif
