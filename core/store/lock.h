/* lock.h: locks on keys, across workers, with queues that wait without a thread.
 *
 * A claim is one party's part in a lock: it holds the key, or stands in its queue. Nobody blocks:
 * who has to wait is called in its own loop when its turn comes.
 *
 *                 tg_claim_new()
 *                  |          |
 *        key free  |          |  key held
 *                  v          v
 *                HELD <---- WAITING          the holder ended: the first in the queue is next
 *                  |          |
 *                  |          +---> CALLED   the holder ended with `call_all`: look again
 *                  v                |
 *        tg_claim_end() <-----------+
 *
 * That is enough for a lock of plugins (tg.lock) and for computing a cache entry once
 * (tg.cache:fetch): there the holder computes; when it has stored a value it calls all, which find
 * the value in the cache; when it fails, the next one becomes holder and computes.
 *
 * A claim belongs to the worker that made it and is ended there, in every state and any number of
 * rounds after its owner lost interest: on_ready is not called after tg_claim_end(). Claims whose
 * turn is on its way to their loop at that moment pass it on. Each keeps its zone open.
 *
 * Bounds: TG_LOCK_WAITERS_MAX in one queue. Threads: locks are shared, behind one mutex per zone,
 * held for some hundred nanoseconds; a claim is touched by its own worker only.
 */
#ifndef TG_STORE_LOCK_H
#define TG_STORE_LOCK_H

#include "base/list.h"
#include "event/loop.h"
#include "store/zone.h"

#define TG_LOCK_WAITERS_MAX 1024
#define TG_LOCK_KEY_MAX     1024

struct tg_claim;

/* The claims of one worker. */
struct tg_claims {
    struct tg_loop *loop; /* borrowed */
    struct tg_list list;  /* of struct tg_claim, until they are freed */
};

void tg_claims_init(struct tg_claims *claims, struct tg_loop *loop);

/* Frees what was ended but could not be freed yet. The loops of all workers have stopped, and all
 * claims were ended. */
void tg_claims_release(struct tg_claims *claims);

/* The locks of one zone; NULL when memory is out. For store/zone. */
struct tg_locks *tg_locks_new(void) TG_MUST_USE;
void tg_locks_free(struct tg_locks **locks);

/* Claims `key` (at most TG_LOCK_KEY_MAX bytes, copied) of `zone`. TG_OK: held at once.
 * TG_E_AGAIN: waiting; on_ready(arg, held) comes once, from the loop: `held` says whether the key
 * is the claim's now or it was called to look again. Both leave a claim in *out, the caller's.
 * TG_E_LIMIT: the queue is full; TG_E_NOMEM. */
enum tg_err tg_claim_new(struct tg_claims *claims, struct tg_zone *zone, struct tg_str key,
                         void (*on_ready)(void *arg, bool held), void *arg,
                         struct tg_claim **out) TG_MUST_USE;

/* Ends the claim and nulls it (NULL is fine): a holder hands on, to the next, or with `call_all` by
 * calling all who wait; a waiter leaves the queue. */
void tg_claim_end(struct tg_claim **claim, bool call_all);

#endif
