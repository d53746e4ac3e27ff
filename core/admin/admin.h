/* admin.h: the admin listener: what the gateway knows of itself, and orders to it, over HTTP/1.1.
 *
 *     GET /metrics   counters and histograms, in Prometheus' text format
 *     GET /healthz   200 while the process answers
 *     GET /readyz    200 while it serves, 503 while it starts, drains, or turns requests away
 *                    because settings.memory is full
 *     GET /status    state, version, uptime, workers, configuration in force, load
 *     GET /config    what the configuration declares: names, addresses, counts; never a secret
 *     GET /limits    every bound: value in force, default, use, most that was, hits
 *     GET /plugins   per plugin: VMs, kills, errors, quarantine; asked from the workers
 *     GET /upstreams per service and target: state, load, latency, failures; of 1000 targets
 *                    at most
 *
 *     POST /reload                read the configuration anew; 200, or 422 and why not
 *     POST /reload?dry-run        the same, but change nothing
 *     POST /rollback[?revision=N] go back to an earlier one, N or the one before
 *
 * There is no authentication: who may connect may read, which is why no configuration has a
 * listener unless it asks for one, and a unix socket is for its owner alone. Orders are taken
 * through a unix socket; through an address and port only with settings.admin.write, and never from
 * a page in a browser, which says so in Origin. One order at a time: 409.
 *
 * On a loopback address requests have to name an address or localhost in Host, else 421: a page of
 * anybody's can make its own name mean 127.0.0.1 (DNS rebinding), and would read along.
 *
 * It lives on the keeper's loop, beside the workers and not among them: a question costs the
 * traffic nothing, and is answered while plugins keep the workers busy. While a reload evaluates
 * the configuration, which happens on the same thread, answers wait.
 *
 * The listener follows the configuration by transactions, as the sockets of net/listen.h do:
 *
 *     prepare   opens what the new configuration asks for, where that is another address
 *     commit    the new one serves, the old one closes; open connections stay
 *     rollback  closes what prepare opened
 *
 * Bounds: limits.admin.connections connections, one exchange each, 16 MiB of answer; one question
 * to the workers at a time, whose answer serves everybody who asked meanwhile.
 *
 * Threads: the keeper's. Ownership: owned by the keeper; freed after the workers have ended.
 */
#ifndef TG_ADMIN_ADMIN_H
#define TG_ADMIN_ADMIN_H

#include "config/snapshot.h"
#include "net/listen.h"

struct tg_admin;
struct tg_gate;
struct tg_metrics;
struct tg_registry;
struct tg_worker;

/* What every answer says in Server: the mark by which those who ask know whom they reached. */
#define TG_ADMIN_SERVER "tidegate-admin"

enum tg_admin_state { TG_ADMIN_STARTING, TG_ADMIN_READY, TG_ADMIN_DRAINING };

struct tg_order;
struct tg_revisions;
struct tg_settlement;

struct tg_admin_options {
    struct tg_worker *worker;             /* the keeper's: a loop, a slab, no thread; borrowed */
    const struct tg_metrics *metrics;     /* borrowed */
    uint32_t workers;                     /* that serve */
    const struct tg_revisions *revisions; /* borrowed */
    /* Calls visit(of, gate) on the thread of every worker that still runs, then done(of) on the
     * keeper's; done may be called from inside when no worker runs. One question at a time. */
    void (*ask)(void *arg, void (*visit)(void *of, struct tg_gate *gate), void (*done)(void *of),
                void *of);
    /* Passes an order on; tg_admin_settle() follows, perhaps before it returns. False: not now. */
    bool (*order)(void *arg, const struct tg_order *order);
    void *arg;
};

/* Without a listener, in state STARTING. TG_E_NOMEM. */
enum tg_err tg_admin_new(const struct tg_admin_options *options, struct tg_admin **out) TG_MUST_USE;

/* Closes everything at once; no question may be under way on a running worker. */
void tg_admin_free(struct tg_admin **admin);

/* On failure nothing has changed, and `reason` holds one line. */
enum tg_err tg_admin_prepare(struct tg_admin *admin, const struct tg_snapshot *snapshot,
                             char reason[TG_LISTEN_REASON_MAX]) TG_MUST_USE;

/* `snapshot` is in force: a reference of it is taken. */
void tg_admin_commit(struct tg_admin *admin, struct tg_snapshot *snapshot);

void tg_admin_rollback(struct tg_admin *admin);

/* Where what is known of origins stands from now on; borrowed. */
void tg_admin_set_registry(struct tg_admin *admin, struct tg_registry *registry);

/* What became of an order, of whoever gave it; copied for /status, and the answer to who waits for
 * it by its number. */
void tg_admin_settle(struct tg_admin *admin, const struct tg_settlement *settled);

/* What /readyz says. */
void tg_admin_set_state(struct tg_admin *admin, enum tg_admin_state state);

#endif
