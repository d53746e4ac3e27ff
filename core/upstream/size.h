/* size.h: how many connections a worker opens to a target, where that follows from use.
 *
 * Every TG_SIZE_PERIOD the size is looked at once:
 *     times 1.2   the leases of the period waited for more than TG_SIZE_WAIT on the average
 *     times 0.8   at no time in it was as much as 30 % of the size in use
 * between `size_min` and `size_max` of the service's pool, by one at least. It begins at size_min.
 *
 * The sum over all workers is told in the target's tg_origin. A value of its owner, the pool; one
 * thread. Cost of a lease: some ns, where the service asks for it.
 */
#ifndef TG_UPSTREAM_SIZE_H
#define TG_UPSTREAM_SIZE_H

#include "upstream/origin.h"

#define TG_SIZE_PERIOD (10 * TG_USEC_PER_SEC)
#define TG_SIZE_WAIT   (100 * TG_USEC_PER_MSEC)

struct tg_size {
    uint32_t limit; /* connections; 0: no bound of this kind */
    uint32_t min, max;
    uint32_t most;            /* in use at once in this period */
    uint64_t leases;          /* in this period */
    uint64_t waited;          /* us, by all of them */
    uint64_t began;           /* us: this period */
    struct tg_origin *origin; /* held while `limit` is not 0; NULL: nobody's */
};

enum tg_size_change { TG_SIZE_KEPT, TG_SIZE_GROWN, TG_SIZE_SHRUNK };

/* Begins, follows changed bounds, or ends, as `conf` says. `origin` (NULL: nobody's) is borrowed
 * for the call. */
void tg_size_follow(struct tg_size *size, const struct tg_pool_conf *conf, struct tg_origin *origin,
                    uint64_t now);

/* No bound any more. A second call does nothing. */
void tg_size_end(struct tg_size *size, uint64_t now);

/* A lease was given, with which `in_use` connections are. */
static inline void tg_size_note_lease(struct tg_size *size, uint32_t in_use)
{
    size->leases++;
    size->most = TG_MAX(size->most, in_use);
}

/* A lease had to wait, or was waited for in vain, for `us`. */
static inline void tg_size_note_wait(struct tg_size *size, uint64_t us)
{
    size->waited += us;
}

/* Looks at the size if a period is over, and begins the next. */
enum tg_size_change tg_size_step(struct tg_size *size, uint64_t now);

#endif
