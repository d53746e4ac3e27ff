/* harness.h: a whole gateway in one process, one thread and no network, for specs.
 *
 *   spec --- pipe --- tg_client   gate, router, plugins, pool   h1_client --- pipe --- spec
 *            (as if accepted)     (what serves production)      (as if dialled)
 *
 * A harness owns one worker whose clock only tg_harness_move() turns, and one gate on it. Clients
 * and origins are the spec's ends of socket pairs. Nothing moves by itself: tg_harness_run() runs
 * rounds of the loop until there is nothing left to do at this instant. Timers, deadlines and the
 * plugins' clock hang on the worker's clock, so a spec decides what time it is; CPU time is real,
 * and the watchdog of production holds plugins to it.
 *
 * What happens inside is told by struct tg_harness_events during run, adopt and stop. A listener
 * may allocate and must neither call the harness nor jump out.
 *
 * Order: new, adopt (again for a reload), connect/run/move as often as wanted, free.
 * Threads: all harnesses of a process live on one thread, which runs one of them at a time.
 */
#ifndef TG_HARNESS_HARNESS_H
#define TG_HARNESS_HARNESS_H

#include "gateway/gate.h"
#include "harness/names.h"
#include "observe/log.h"

struct tg_harness;

struct tg_harness_events {
    /* The gateway wants a connection to `addr`: tg_harness_settle_dial() decides. */
    void (*on_dial)(void *arg, uint32_t id, const struct tg_addr *addr);
    /* The gateway looks up a name: tg_harness_settle_query() answers. */
    void (*on_query)(void *arg, uint32_t id, const struct tg_query *query);
    void (*on_line)(void *arg, enum tg_log_level level, const char *component,
                    struct tg_str message, const struct tg_log_field *fields, size_t count);
    void (*on_enter)(void *arg, const struct tg_request *r);
    /* `cpu` is what the thread spent in the plugin since on_enter, in us. */
    void (*on_leave)(void *arg, const struct tg_request *r, enum tg_run_outcome outcome,
                     uint64_t cpu);
    void (*on_failed)(void *arg, const struct tg_request *r, struct tg_str what, enum tg_kill kill);
    /* While tg_harness_watch_state() is on: the plugin wrote the module table called `name`. */
    void (*on_wrote)(void *arg, const struct tg_request *r, const char *name);
    void (*on_end)(void *arg, const struct tg_request *r);
};

/* Where an instance that was attached for a while takes part. */
enum tg_harness_scope {
    TG_HARNESS_SCOPE_ROUTE,
    TG_HARNESS_SCOPE_SERVICE,
    TG_HARNESS_SCOPE_LISTENER
};

/* A harness whose clock stands at `real` (us since 1970) and whose randomness begins at `seed`.
 * `events` and `arg` are borrowed. TG_E_NOMEM or TG_E_SYSTEM. */
enum tg_err tg_harness_new(uint64_t real, uint64_t seed, const struct tg_harness_events *events,
                           void *arg, struct tg_harness **out) TG_MUST_USE;

/* Ends whatever is open, without a word to anybody, and frees the harness. */
void tg_harness_free(struct tg_harness **harness);

/* Puts `snapshot`, which no other harness has, in force (one more reference is taken); requests
 * under way end on the old one. VMs that a reload keeps are kept, unless all are wanted `anew`. On
 * failure the old one stays and `error` tells. */
enum tg_err tg_harness_adopt(struct tg_harness *harness, struct tg_snapshot *snapshot, bool anew,
                             struct tg_vm_error *error) TG_MUST_USE;

/* The gate, for looking; NULL `snapshot` in it before the first adopt. */
const struct tg_gate *tg_harness_gate(const struct tg_harness *harness);

/* Runs the loop until nothing is left to do now. TG_E_LIMIT: it does not come to rest. */
enum tg_err tg_harness_run(struct tg_harness *harness) TG_MUST_USE;

/* When the next timer wants to be looked at, in us of the clock; UINT64_MAX: none is set. */
uint64_t tg_harness_next(const struct tg_harness *harness);

/* Turns the clock forward by `us`; what is due runs with the next tg_harness_run(). */
void tg_harness_move(struct tg_harness *harness, uint64_t us);

const struct tg_clock *tg_harness_clock(const struct tg_harness *harness);

/* A client connection from `peer` to listener `index`; *fd, non-blocking, is the caller's. After an
 * adopt. TG_E_LIMIT: refused, as a listener would. */
enum tg_err tg_harness_connect(struct tg_harness *harness, uint32_t index,
                               const struct tg_addr *peer, int *fd) TG_MUST_USE;

/* Decides the dial `id`: TG_OK, and *fd is the origin's end (the caller's, non-blocking), or why
 * there is no connection. TG_E_CLOSED: the gateway has given up meanwhile. */
enum tg_err tg_harness_settle_dial(struct tg_harness *harness, uint32_t id, enum tg_err verdict,
                                   int *fd) TG_MUST_USE;

/* Answers the query `id` (borrowed; see tg_names_answer()). False: nobody waits for it any more. */
bool tg_harness_settle_query(struct tg_harness *harness, uint32_t id,
                             const struct tg_answer *answer);

/* Only `phase` of plugins runs; TG_PHASES: all. */
void tg_harness_set_phase(struct tg_harness *harness, enum tg_phase phase);

/* Requests are those of the declared consumer called `name` (copied) from their access phase on, as
 * if a plugin had authenticated them; p == NULL: nobody's. TG_E_NOMEM. */
enum tg_err tg_harness_set_consumer(struct tg_harness *harness, struct tg_str name) TG_MUST_USE;

/* Whether on_wrote is told: plugins' tables are compared around each stretch that they run. The
 * comparison costs more than most plugins. TG_E_NOMEM. */
enum tg_err tg_harness_watch_state(struct tg_harness *harness, bool on) TG_MUST_USE;

/* The instance called `id` takes part only in requests of this route, service or listener. Both
 * strings are copied. TG_E_NOMEM. */
enum tg_err tg_harness_confine(struct tg_harness *harness, struct tg_str id,
                               enum tg_harness_scope scope, struct tg_str name) TG_MUST_USE;

#endif
