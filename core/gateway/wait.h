/* wait.h: what an activation waits for and what it holds, whoever it belongs to.
 *
 * Plugin code runs either for a request (gateway/plugins) or in the background
 * (gateway/background). tg_run.host says for whom: both kinds begin with a magic. Functions of the
 * library that suspend, or that hold something for the plugin, need not know which.
 *
 * Waiting. In a host function:
 *
 *     if (!tg_run_can_suspend(L)) return tg_run_suspend(L);      raises, with the reason
 *     ... start what is waited for, its end calls tg_wait_end() from the loop ...
 *     tg_wait_begin(run, &wait, until);
 *     return tg_run_suspend(L);
 *
 * on_resume is called exactly once: from tg_wait_end(), when `until` is there, or with `cancelled`
 * when the activation ends. It stops what is still going on; unless cancelled it pushes the results
 * of the host function on run->L (tg_run_push() for what allocates) and returns their number, or -1
 * when memory is out.
 *
 * Holding. A struct tg_held is given back when the activation that took it ends; with `lasts`, when
 * the request ends, or at once when the activation is killed.
 *
 * Threads: the worker's.
 */
#ifndef TG_GATEWAY_WAIT_H
#define TG_GATEWAY_WAIT_H

#include "base/list.h"
#include "script/run.h"

struct tg_request;

struct tg_wait {
    int (*on_resume)(struct tg_wait *wait, struct tg_run *run, bool cancelled);
};

struct tg_held {
    struct tg_list link;
    const struct tg_run *run; /* who took it; borrowed, only compared */
    bool lasts;
    void (*release)(struct tg_held *held); /* once; it is in no list any more */
};

/* The request that `run` works for; NULL: in the background, or while the plugin is set up. */
struct tg_request *tg_run_request(const struct tg_run *run);

/* When the wall time of the hosted `run` is over, in us of the loop's clock. */
uint64_t tg_run_deadline(const struct tg_run *run);

/* Whether `run` may wait and hold: not while the plugin is set up. */
static inline bool tg_run_is_hosted(const struct tg_run *run)
{
    return run != NULL && run->host != NULL;
}

/* The hosted `run`, which is about to suspend, waits for `wait` (borrowed until on_resume), until
 * `until` (us of the loop's clock; 0: as long as its wall time). TG_E_NOMEM. */
enum tg_err tg_wait_begin(struct tg_run *run, struct tg_wait *wait, uint64_t until) TG_MUST_USE;

/* What the hosted `run` waits for is there. From the loop, not from inside plugin code; `run` may
 * be gone on return. */
void tg_wait_end(struct tg_run *run);

/* The hosted `run` holds `held` from now on; release and lasts are set. */
void tg_held_add(struct tg_run *run, struct tg_held *held);

/* It is given back already. A second call does nothing. */
void tg_held_remove(struct tg_held *held);

/* For the two owners: gives back what `run` leaves at its end; what is in the list at all. */
void tg_held_end_run(struct tg_list *list, const struct tg_run *run);
void tg_held_end_all(struct tg_list *list);

/* What is left of `run`, which has ended beside its request's phases, is held by `heir` from now
 * on: a kill of that ends it. */
void tg_held_inherit(struct tg_list *list, const struct tg_run *run, const struct tg_run *heir);

#endif
