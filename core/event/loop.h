/* loop.h: one event loop of one thread, on libev.
 *
 * A round: wait for descriptors (at most until the next timer) -> read the clock once -> I/O
 * callbacks -> timers that are due -> deferred calls -> some of the calls that yielded. Whatever
 * asks for the time during a round gets the same answer from loop->clock.
 *
 * Other threads reach a loop only through its mailbox: tg_loop_post().
 */
#ifndef TG_EVENT_LOOP_H
#define TG_EVENT_LOOP_H

#include "base/clock.h"
#include "event/timer.h"

#include <ev.h>
#include <pthread.h>

/* A call for the end of this round, or for another thread's loop. Embedded by its owner, who keeps
 * it until it ran or was cancelled. */
struct tg_task {
    struct tg_list link;
    void (*run)(struct tg_task *task);
};

struct tg_loop {
    struct ev_loop *ev;
    struct tg_clock clock;
    struct tg_timers timers;
    struct tg_list deferred; /* of struct tg_task */

    /* private */
    struct tg_list yielded; /* of struct tg_task, in turn */
    bool yielded_ran;       /* some of them, in the round before */
    ev_timer wake;          /* ends the wait when the first timer is due */
    uint64_t wake_at;
    ev_prepare prepare;
    ev_check check;
    ev_async mail;
    pthread_mutex_t mail_lock;
    struct tg_list mailbox;
};

/* A loop for the calling thread or one that it starts. */
enum tg_err tg_loop_init(struct tg_loop *loop) TG_MUST_USE;

/* All timers and watchers must be gone. Posted tasks that did not run are dropped. */
void tg_loop_release(struct tg_loop *loop);

/* Runs rounds until tg_loop_stop(). */
void tg_loop_run(struct tg_loop *loop);

/* Ends tg_loop_run() after this round; from the loop's own thread. */
void tg_loop_stop(struct tg_loop *loop);

/* Runs `task` at the end of this round (or of the next, when called from a deferred call: a task
 * that defers itself again does not starve the loop). A task that is waiting already stays where
 * it is. */
void tg_loop_defer(struct tg_loop *loop, struct tg_task *task);

/* As tg_loop_defer, before the others: for calls that cost little and that somebody waits for. */
void tg_loop_defer_first(struct tg_loop *loop, struct tg_task *task);

/* Runs `task` in a later round, behind those that yielded before it: for work that has taken its
 * slice, a millisecond, and is not done. Every second round runs an eighth of them, at least one,
 * so a request that passes the loop twice, to its origin and back, waits for one slice, not for
 * two of each plugin that spins. An eighth and not one: the more there are, the more end. */
void tg_loop_yield(struct tg_loop *loop, struct tg_task *task);

/* Runs deferred calls until none is left: after the last round, for what was to be freed. */
void tg_loop_run_deferred(struct tg_loop *loop);

/* Runs `task` on the loop's thread soon; from any thread. The task belongs to the loop until it
 * runs and cannot be cancelled. */
void tg_loop_post(struct tg_loop *loop, struct tg_task *task);

static inline void tg_task_init(struct tg_task *task, void (*run)(struct tg_task *task))
{
    tg_list_init(&task->link);
    task->run = run;
}

/* Guarantees that a task that was deferred, or yielded, does not run; not for posted ones. */
static inline void tg_task_cancel(struct tg_task *task)
{
    tg_list_remove(&task->link);
}

static inline uint64_t tg_loop_now(const struct tg_loop *loop)
{
    return loop->clock.mono;
}

#endif
