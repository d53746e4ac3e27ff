/* worker.h: what one worker thread owns and everybody above needs: its loop, slab, randomness and
 * number. The layers above hang their own per-worker state (pools, VMs) on the slots.
 *
 * Everything here is touched by the worker's own thread only, but for posts to the loop.
 */
#ifndef TG_EVENT_WORKER_H
#define TG_EVENT_WORKER_H

#include "base/rand.h"
#include "base/slab.h"
#include "event/loop.h"

struct tg_metric_cells;
struct tg_outbox;

struct tg_worker {
    uint32_t index;
    struct tg_loop loop;
    struct tg_slab *slab; /* owned */
    struct tg_rand rand;
    struct tg_metric_cells *cells; /* this worker's metric cells; borrowed from observe */
    struct tg_outbox *outbox;      /* of net/outbox, which owns it; NULL: none */
    bool draining;                 /* the process is about to end: close what falls idle */
    pthread_t thread;
};

/* A worker without a thread yet: loop, slab and randomness. */
enum tg_err tg_worker_init(struct tg_worker *worker, uint32_t index,
                           struct tg_metric_cells *cells) TG_MUST_USE;

/* The thread has ended and nothing is leased from the slab. */
void tg_worker_release(struct tg_worker *worker);

/* Starts the thread, which runs `main(arg)` on a C stack of 128 MiB: plugins' recursion through C
 * functions must not reach the end of it. */
enum tg_err tg_worker_start(struct tg_worker *worker, void *(*main)(void *arg),
                            void *arg) TG_MUST_USE;

/* Waits for the thread's end. */
void tg_worker_join(struct tg_worker *worker);

#endif
