/* watchdog.h: the clock that nothing on a worker's thread can block.
 *
 * Whoever runs foreign code on a thread publishes a sequence number that is odd while it runs and
 * grows at each entry and exit. The watchdog, a thread of its own, looks at these numbers every
 * millisecond, and four times as often once it has seen an odd one, or while slices end. When the
 * same odd number has been there for a slice of the thread's CPU
 * time, it sends the thread a signal, whose handler calls on_overdue() there, and does so again at
 * every look until the number changes. What on_overdue() does must be safe in a signal handler.
 * Looking less often makes slices longer, and every neighbour of a spinning plugin waits for some
 * of them; looking always so often is 8 % of a processor (20 µs a look, nearly all of it changing
 * threads) for plugins that are done in microseconds.
 *
 *     runs        seq 41 ────────────────────────────────┐ 42        time is the thread's CPU time:
 *     watchdog        ┆ first seen (since)  ┆   ┆ overdue            a thread that waits for the
 *                     ├──── slice_us ───────────┤                    processor is not late
 *
 * While all numbers are even and do not change, the watchdog sleeps; `asleep` then says so, and who
 * enters wakes it by tg_watchdog_wake(). A wake-up that is missed (the flag is read without a
 * fence) costs DOZE_US at most.
 *
 * Ownership: a watch is embedded by its user and belongs to the watchdog between add and remove,
 * both called on the watched thread; a thread has at most one. Cost: for a watched thread nothing
 * but the store of its number; for the process some 20 µs a look, while it is awake.
 */
#ifndef TG_EVENT_WATCHDOG_H
#define TG_EVENT_WATCHDOG_H

#include "base/err.h"
#include "base/list.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

/* The signal that the watchdog uses; nothing else in the process may. */
#define TG_WATCHDOG_SIGNAL (SIGRTMIN + 5)

struct tg_watchdog;

struct tg_watch {
    _Atomic bool asleep; /* the watchdog does not look at the moment */
    /* private */
    const _Atomic uint64_t *seq; /* borrowed */
    uint64_t slice_us;
    void (*on_overdue)(void *arg, uint64_t seq, uint64_t since_us);
    void *arg;
    struct tg_list link;
    pthread_t thread;
    clockid_t clock;
    uint64_t seen_seq;
    uint64_t seen_since;
    _Atomic bool sent; /* a signal is on its way: real-time signals queue */
    _Atomic uint64_t due_seq;
    _Atomic uint64_t due_since;
};

/* Starts the thread. TG_E_NOMEM or TG_E_SYSTEM. */
enum tg_err tg_watchdog_new(struct tg_watchdog **out) TG_MUST_USE;

/* Ends the thread; no watch may be left. */
void tg_watchdog_free(struct tg_watchdog **dog);

/* A watch on `seq` (borrowed): `on_overdue(arg, seq, since_us)` is called in a signal handler on
 * the watched thread with the number that is overdue and the thread's CPU time (us, as
 * tg_clock_thread_cpu() counts) when it was first seen. */
void tg_watch_init(struct tg_watch *watch, const _Atomic uint64_t *seq, uint64_t slice_us,
                   void (*on_overdue)(void *arg, uint64_t seq, uint64_t since_us), void *arg);

/* Watches the calling thread; TG_E_SYSTEM when its CPU clock cannot be read. */
enum tg_err tg_watchdog_add(struct tg_watchdog *dog, struct tg_watch *watch) TG_MUST_USE;

/* No call of on_overdue() from now on; on the watched thread. */
void tg_watchdog_remove(struct tg_watchdog *dog, struct tg_watch *watch);

/* `dog` is the struct tg_watchdog: look again. From any thread. */
void tg_watchdog_wake(void *dog);

#endif
