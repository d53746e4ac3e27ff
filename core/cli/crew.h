/* crew.h: the worker threads of a gateway process, as the keeper commands them.
 *
 *                     keeper (main thread)            workers
 *     start           starts threads                  run their loops, serve nothing yet
 *     reload          asks all to prepare       --->  build VMs aside, under the watchdog
 *                     all could: asks to adopt  --->  snapshot, VMs, listeners change
 *                     one could not: to drop    --->  everything stays
 *     drain, stop                               --->  end, each when its last request has
 *     ask                                       --->  let the questioner look at the gate
 *
 * Orders are posted to the workers' loops, answers to the keeper's loop; the callbacks below run
 * there. One reload at a time. Workers change over each at a moment of its own, between two rounds
 * of its loop; no request sees two configurations.
 */
#ifndef TG_CLI_CREW_H
#define TG_CLI_CREW_H

#include "cli/boot.h"
#include "event/loop.h"

struct tg_crew;
struct tg_gate;
struct tg_gateway;
struct tg_metrics;

struct tg_crew_events {
    /* The reload is over: TG_OK, or `reason` (one line) says why everything stayed. */
    void (*on_reloaded)(void *arg, enum tg_err err, const char *reason);
    /* After tg_crew_drain(): no worker touches a listening socket any more. */
    void (*on_quiet)(void *arg);
    /* All workers have ended. */
    void (*on_ended)(void *arg);
};

/* Starts the workers and the watchdog; they serve nothing before the first tg_crew_reload().
 * Answers come on `keeper`. All pointers are borrowed and outlive the crew. On failure nothing
 * runs. */
enum tg_err tg_crew_new(const struct tg_boot *boot, struct tg_loop *keeper,
                        struct tg_metrics *metrics, const struct tg_crew_events *events, void *arg,
                        struct tg_crew **out) TG_MUST_USE;

/* Puts `snapshot` in force everywhere or nowhere; on_reloaded tells. A reference of each worker is
 * taken. Until then boot->sockets must not change. Without `adopt` all prepare, and then drop what
 * they made: on_reloaded tells whether they could. */
void tg_crew_reload(struct tg_crew *crew, struct tg_snapshot *snapshot, bool adopt);

/* What the workers share: borrowed, for as long as the crew is there. */
struct tg_gateway *tg_crew_gateway(struct tg_crew *crew);

/* Calls visit(of, gate) on the thread of every worker that still runs, each between two rounds of
 * its loop, then done(of) on the keeper's; from inside this call when no worker runs. One question
 * at a time. A worker that ends before its turn is left out. */
void tg_crew_ask(struct tg_crew *crew, void (*visit)(void *of, struct tg_gate *gate),
                 void (*done)(void *of), void *of);

/* Accept no more; on_ended comes when the last request ended. A second call does nothing. */
void tg_crew_drain(struct tg_crew *crew);

/* Ends at once. A second call does nothing. */
void tg_crew_stop(struct tg_crew *crew);

/* After on_ended: joins the threads and frees everything. */
void tg_crew_free(struct tg_crew **crew);

#endif
