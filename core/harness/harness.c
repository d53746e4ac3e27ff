/* harness.c: see harness.h.
 *
 * Rest is found by counting: libev tells before it invokes watchers how many are pending, and in a
 * round in which nothing happens these are our own two, prepare and check. A round with more, a
 * deferred call or a due timer means that another is worth its while.
 *
 * A thread may have one watch with the watchdog: it goes to the harness that works, and stays there
 * until another one does. */
#include "base/banned.h"
#include "harness/harness.h"

#include "base/assert.h"
#include "config/follow.h"
#include "event/watchdog.h"
#include "gateway/checks.h"
#include "gateway/client.h"
#include "gateway/consumer.h"
#include "gateway/vm_set.h"
#include "harness/coverage.h"
#include "harness/pipe.h"
#include "harness/state.h"
#include "http/h1_client.h"
#include "observe/metrics.h"

#include <poll.h>
#include <unistd.h>

#define QUIET_EVENTS 2u      /* of a round: prepare and check */
#define ROUNDS_MAX   200000u /* of one run */

/* A connection that the gateway waits for. */
struct dial {
    struct tg_list link;
    uint32_t id;
    struct tg_h1_client *client; /* borrowed; gone when the other end of `fd` is closed */
    int fd;                      /* the origin's end */
};

struct confined {
    struct tg_list link;
    enum tg_harness_scope scope;
    char *id;
    char *name;
};

struct tg_harness {
    struct tg_worker worker;
    struct tg_gateway gateway; /* of its own, as a process has: zones are empty at first */
    struct tg_gate gate;
    struct tg_watch watch;
    struct tg_gate_observer observer;
    struct tg_pool_dialer dialer;
    struct tg_checker *checker;
    struct tg_checks checks;
    struct tg_names names;
    struct tg_log_tap tap;
    const struct tg_harness_events *events;
    void *arg;
    struct tg_list dials;
    struct tg_list confined;
    uint32_t dial_count;
    char *consumer;          /* whose all requests are; NULL: nobody's. Owned */
    unsigned pending;        /* events of this round */
    enum tg_phase phase;     /* the only one, or TG_PHASES */
    uint64_t entered_cpu;    /* us of the thread, at the last on_enter */
    struct tg_state *states; /* two: before and after a stretch; NULL: not watched */
};

/* For the process: made with the first harness, kept to the end. */
static struct tg_watchdog *watchdog;
static struct tg_metrics *metrics; /* specs do not see them */

static struct tg_harness *watched; /* the one that the watchdog looks at; NULL: none */

/* ---- What plugins do ---------------------------------------------------------------------------
 */

static bool is_confined_here(const struct confined *c, const struct tg_request *r)
{
    struct tg_str name = tg_str_c(c->name);
    switch (c->scope) {
    case TG_HARNESS_SCOPE_ROUTE:
        return r->route != NULL && tg_str_eq(r->route->name, name);
    case TG_HARNESS_SCOPE_SERVICE:
        return r->service != NULL && tg_str_eq(r->service->name, name);
    case TG_HARNESS_SCOPE_LISTENER:
        return tg_str_eq(r->listener->name, name);
    }
    return false;
}

static bool wants(void *arg, const struct tg_request *r, const struct tg_instance_conf *instance)
{
    struct tg_harness *h = arg;
    if (h->phase != TG_PHASES && h->phase != r->plugins.phase)
        return false;
    TG_LIST_FOREACH(&h->confined, it)
    {
        const struct confined *c = TG_LIST_ENTRY(it, struct confined, link);
        if (tg_str_eq(instance->id, tg_str_c(c->id)))
            return is_confined_here(c, r);
    }
    return true;
}

static void on_enter(void *arg, const struct tg_request *r)
{
    struct tg_harness *h = arg;
    h->events->on_enter(h->arg, r);
    if (h->states != NULL)
        tg_state_take(r->plugins.run.vm, &h->states[0]);
    tg_coverage_watch(r->plugins.run.L);
    h->entered_cpu = tg_clock_thread_cpu();
}

static void on_leave(void *arg, const struct tg_request *r, enum tg_run_outcome outcome)
{
    struct tg_harness *h = arg;
    h->events->on_leave(h->arg, r, outcome, tg_clock_thread_cpu() - h->entered_cpu);
    if (h->states == NULL)
        return;
    unsigned at = 0;
    const struct tg_state_table *written;
    tg_state_take(r->plugins.run.vm, &h->states[1]);
    while ((written = tg_state_next_written(&h->states[0], &h->states[1], &at)) != NULL)
        h->events->on_wrote(h->arg, r, written->name);
}

/* For who counts plugins it has run, at no cost. */
static void on_stood_in(void *arg, const struct tg_request *r)
{
    struct tg_harness *h = arg;
    h->events->on_enter(h->arg, r);
    h->events->on_leave(h->arg, r, TG_RUN_DONE, 0);
}

static void on_failed(void *arg, const struct tg_request *r, struct tg_str what, enum tg_kill kill)
{
    struct tg_harness *h = arg;
    h->events->on_failed(h->arg, r, what, kill);
}

/* Requests are those of the consumer that the spec named. */
static void on_route(void *arg, struct tg_request *r)
{
    const struct tg_harness *h = arg;
    const struct tg_consumer *consumer;
    if (h->consumer == NULL)
        return;
    if (tg_consumer_find(r->snapshot->consumers, tg_str_c(h->consumer), &consumer) == TG_OK &&
        tg_request_authenticate(r, consumer, TG_STR("test")) != TG_OK)
        tg_log_kv(TG_LOG_ERROR, "harness", "no memory to authenticate the request");
}

static void on_end(void *arg, const struct tg_request *r)
{
    struct tg_harness *h = arg;
    h->events->on_end(h->arg, r);
}

static void on_line(void *arg, enum tg_log_level level, const char *component,
                    struct tg_str message, const struct tg_log_field *fields, size_t count)
{
    struct tg_harness *h = arg;
    h->events->on_line(h->arg, level, component, message, fields, count);
}

/* Takes the watch to `h`, or (NULL) to nobody. */
static void watch(struct tg_harness *h)
{
    if (watched == h)
        return;
    if (watched != NULL)
        tg_watchdog_remove(watchdog, &watched->watch);
    watched = h;
    if (h != NULL && tg_watchdog_add(watchdog, &h->watch) != TG_OK)
        watched = NULL; /* no CPU clock: plugins that never end are not stopped */
}

/* Between enter() and leave() plugins of `h` may run. */
static void enter(struct tg_harness *h)
{
    tg_log_tap(&h->tap);
    watch(h);
}

static void leave(void)
{
    tg_log_tap(NULL);
}

/* ---- Connections -------------------------------------------------------------------------------
 */

static enum tg_err dial(void *arg, struct tg_h1_client *client, const struct tg_addr *addr,
                        uint64_t timeout, const struct tg_call_events *events, void *owner)
{
    struct tg_harness *h = arg;
    int fds[2];
    struct dial *d = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*d));
    enum tg_err err = d != NULL ? tg_pipe_pair(fds) : TG_E_NOMEM;
    if (err == TG_OK) {
        err = tg_h1_client_open_pending(client, &h->worker, fds[0], timeout, events, owner);
        if (err != TG_OK)
            close(fds[1]);
    }
    if (err != TG_OK) {
        tg_mem_free(TG_MEM_OTHER, d);
        return err;
    }
    d->id = ++h->dial_count;
    d->client = client;
    d->fd = fds[1];
    tg_list_push_back(&h->dials, &d->link);
    h->events->on_dial(h->arg, d->id, addr);
    return TG_OK;
}

static void on_query(void *arg, uint32_t id, const struct tg_query *query)
{
    struct tg_harness *h = arg;
    h->events->on_query(h->arg, id, query);
}

bool tg_harness_settle_query(struct tg_harness *harness, uint32_t id,
                             const struct tg_answer *answer)
{
    enter(harness);
    bool wanted = tg_names_settle(&harness->names, id, answer);
    leave();
    return wanted;
}

static void forget_dial(struct dial *d)
{
    tg_list_remove(&d->link);
    if (d->fd >= 0)
        close(d->fd);
    tg_mem_free(TG_MEM_OTHER, d);
}

static bool is_given_up(const struct dial *d)
{
    struct pollfd p = {.fd = d->fd, .events = POLLIN | POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLRDHUP)) != 0;
}

enum tg_err tg_harness_settle_dial(struct tg_harness *harness, uint32_t id, enum tg_err verdict,
                                   int *fd)
{
    TG_LIST_FOREACH(&harness->dials, it)
    {
        struct dial *d = TG_LIST_ENTRY(it, struct dial, link);
        if (d->id != id)
            continue;
        bool given_up = is_given_up(d);
        if (!given_up)
            tg_h1_client_connected(d->client, verdict);
        if (!given_up && verdict == TG_OK) {
            *fd = d->fd;
            d->fd = -1;
        }
        forget_dial(d);
        return given_up ? TG_E_CLOSED : TG_OK;
    }
    return TG_E_CLOSED;
}

enum tg_err tg_harness_connect(struct tg_harness *harness, uint32_t index,
                               const struct tg_addr *peer, int *fd)
{
    int fds[2];
    tg_assert(harness->gate.snapshot != NULL && index < harness->gate.snapshot->listener_count);
    enum tg_err err = tg_pipe_pair(fds);
    if (err != TG_OK)
        return err;
    err = tg_client_adopt(&harness->gate, index, fds[0], peer);
    if (err != TG_OK) {
        close(fds[1]);
        return err;
    }
    *fd = fds[1];
    return TG_OK;
}

/* ---- Time --------------------------------------------------------------------------------------
 */

static void on_invoke(struct ev_loop *ev)
{
    struct tg_harness *h = ev_userdata(ev);
    h->pending += ev_pending_count(ev);
    ev_invoke_pending(ev);
}

static bool is_at_rest(const struct tg_harness *h)
{
    const struct tg_loop *loop = &h->worker.loop;
    return h->pending <= QUIET_EVENTS && tg_list_is_empty(&loop->deferred) &&
           tg_timers_next(&loop->timers) > loop->clock.mono;
}

static enum tg_err run_rounds(struct tg_harness *h)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        h->pending = 0;
        ev_run(h->worker.loop.ev, EVRUN_NOWAIT);
        if (is_at_rest(h))
            return TG_OK;
    }
    return TG_E_LIMIT;
}

enum tg_err tg_harness_run(struct tg_harness *harness)
{
    enter(harness);
    enum tg_err err = run_rounds(harness);
    leave();
    return err;
}

uint64_t tg_harness_next(const struct tg_harness *harness)
{
    return tg_timers_next(&harness->worker.loop.timers);
}

void tg_harness_move(struct tg_harness *harness, uint64_t us)
{
    tg_clock_advance(&harness->worker.loop.clock, us);
}

const struct tg_clock *tg_harness_clock(const struct tg_harness *harness)
{
    return &harness->worker.loop.clock;
}

/* ---- Configuration -----------------------------------------------------------------------------
 */

/* The VMs that `snapshot` needs beside those that it keeps. */
static enum tg_err make_vms(struct tg_harness *h, struct tg_snapshot *snapshot,
                            struct tg_vm_set **vms, struct tg_vm_error *error)
{
    enum tg_err err = tg_vm_set_new(&h->gate, snapshot, vms, error);
    if (err != TG_OK)
        return err;
    err = tg_vm_set_make_all(*vms, error);
    if (err != TG_OK)
        tg_vm_set_unref(vms);
    return err;
}

enum tg_err tg_harness_adopt(struct tg_harness *harness, struct tg_snapshot *snapshot, bool anew,
                             struct tg_vm_error *error)
{
    struct tg_vm_set *vms;
    const struct tg_snapshot *now = harness->gate.snapshot;
    enum tg_err err = TG_OK;
    error->n = 0;
    enter(harness);
    if (now != NULL && now != snapshot && !anew)
        err = tg_snapshot_follow(snapshot, now);
    if (err == TG_OK)
        err = make_vms(harness, snapshot, &vms, error);
    if (err == TG_OK)
        err = tg_gate_adopt(&harness->gate, tg_snapshot_ref(snapshot), vms);
    if (err == TG_OK) {
        tg_clients_fit(&harness->gate);
        tg_checks_follow(&harness->checks, snapshot);
    }
    leave();
    return err;
}

const struct tg_gate *tg_harness_gate(const struct tg_harness *harness)
{
    return &harness->gate;
}

void tg_harness_set_phase(struct tg_harness *harness, enum tg_phase phase)
{
    harness->phase = phase;
}

enum tg_err tg_harness_watch_state(struct tg_harness *harness, bool on)
{
    if (!on) {
        tg_mem_free(TG_MEM_OTHER, harness->states);
        harness->states = NULL;
        return TG_OK;
    }
    if (harness->states == NULL)
        harness->states = tg_mem_zalloc(TG_MEM_OTHER, 2, sizeof(*harness->states));
    return harness->states != NULL ? TG_OK : TG_E_NOMEM;
}

static char *copy(struct tg_str s)
{
    char *p = tg_mem_zalloc(TG_MEM_OTHER, s.n + 1, 1);
    if (p != NULL)
        memcpy(p, s.p, s.n);
    return p;
}

enum tg_err tg_harness_set_consumer(struct tg_harness *harness, struct tg_str name)
{
    char *mine = name.p != NULL ? copy(name) : NULL;
    if (name.p != NULL && mine == NULL)
        return TG_E_NOMEM;
    tg_mem_free(TG_MEM_OTHER, harness->consumer);
    harness->consumer = mine;
    return TG_OK;
}

static void forget_confined(struct confined *c)
{
    tg_list_remove(&c->link);
    tg_mem_free(TG_MEM_OTHER, c->id);
    tg_mem_free(TG_MEM_OTHER, c->name);
    tg_mem_free(TG_MEM_OTHER, c);
}

enum tg_err tg_harness_confine(struct tg_harness *harness, struct tg_str id,
                               enum tg_harness_scope scope, struct tg_str name)
{
    struct confined *c = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*c));
    if (c == NULL)
        return TG_E_NOMEM;
    tg_list_init(&c->link);
    c->scope = scope;
    c->id = copy(id);
    c->name = copy(name);
    if (c->id == NULL || c->name == NULL) {
        forget_confined(c);
        return TG_E_NOMEM;
    }
    tg_list_push_back(&harness->confined, &c->link);
    return TG_OK;
}

/* ---- Life --------------------------------------------------------------------------------------
 */

static void wire(struct tg_harness *h)
{
    h->observer = (struct tg_gate_observer){.wants = wants,
                                            .on_route = on_route,
                                            .on_enter = on_enter,
                                            .on_leave = on_leave,
                                            .on_stood_in = on_stood_in,
                                            .on_failed = on_failed,
                                            .on_end = on_end,
                                            .arg = h};
    h->dialer = (struct tg_pool_dialer){dial, h};
    h->tap = (struct tg_log_tap){on_line, h};
    h->gate.observer = &h->observer;
    tg_pool_set_dialer(h->gate.pool, &h->dialer);
    tg_watch_init(&h->watch, &h->gate.runner.seq, h->gate.runner.slice_us, tg_runner_interrupt,
                  &h->gate.runner);
    h->gate.runner.asleep = &h->watch.asleep;
    h->gate.runner.wake = tg_watchdog_wake;
    h->gate.runner.wake_arg = watchdog;
    ev_set_userdata(h->worker.loop.ev, h);
    ev_set_invoke_pending_cb(h->worker.loop.ev, on_invoke);
}

/* What all harnesses share, once. */
static enum tg_err prepare_process(void)
{
    if (watchdog != NULL)
        return TG_OK;
    if (metrics == NULL)
        metrics = tg_metrics_new(1);
    if (metrics == NULL)
        return TG_E_NOMEM;
    return tg_watchdog_new(&watchdog);
}

static enum tg_err make(struct tg_harness *h)
{
    enum tg_err err = prepare_process();
    if (err == TG_OK)
        err = tg_worker_init(&h->worker, 0, tg_metrics_cells(metrics, 0));
    if (err != TG_OK)
        return err;
    err = tg_gateway_init(&h->gateway);
    if (err == TG_OK)
        err = tg_gate_init(&h->gate, &h->worker, &h->gateway);
    else
        h->gateway = (struct tg_gateway){0};
    if (err != TG_OK) {
        tg_gateway_release(&h->gateway);
        tg_worker_release(&h->worker);
    }
    return err;
}

enum tg_err tg_harness_new(uint64_t real, uint64_t seed, const struct tg_harness_events *events,
                           void *arg, struct tg_harness **out)
{
    struct tg_harness *h = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*h));
    if (h == NULL)
        return TG_E_NOMEM;
    enum tg_err err = make(h);
    if (err != TG_OK) {
        tg_mem_free(TG_MEM_OTHER, h);
        return err;
    }
    h->events = events;
    h->arg = arg;
    h->phase = TG_PHASES;
    tg_list_init(&h->dials);
    tg_list_init(&h->confined);
    tg_clock_init_fake(&h->worker.loop.clock, real);
    tg_rand_init_seed(&h->worker.rand, seed);
    wire(h);
    tg_names_init(&h->names, on_query, h);
    err = tg_gate_resolve_by(&h->gate, &h->names.source);
    h->checker = tg_checker_new(&h->worker, h->gateway.registry, &h->dialer);
    if (err != TG_OK || h->checker == NULL) {
        tg_harness_free(&h);
        return TG_E_NOMEM;
    }
    h->checks = (struct tg_checks){
        &h->worker, h->gateway.registry, h->checker, NULL, h->gate.resolver, NULL, NULL};
    *out = h;
    return TG_OK;
}

void tg_harness_free(struct tg_harness **harness)
{
    struct tg_harness *h = *harness;
    if (h == NULL)
        return;
    *harness = NULL;
    enter(h);
    tg_checks_release(&h->checks);
    tg_checker_free(&h->checker);
    tg_gate_stop(&h->gate);
    tg_assert(run_rounds(h) == TG_OK);
    tg_gate_release(&h->gate);
    tg_loop_run_deferred(&h->worker.loop);
    leave();
    watch(NULL);
    TG_LIST_FOREACH(&h->dials, it)
    forget_dial(TG_LIST_ENTRY(it, struct dial, link));
    TG_LIST_FOREACH(&h->confined, it)
    forget_confined(TG_LIST_ENTRY(it, struct confined, link));
    tg_gateway_release(&h->gateway);
    tg_worker_release(&h->worker);
    tg_mem_free(TG_MEM_OTHER, h->states);
    tg_mem_free(TG_MEM_OTHER, h->consumer);
    tg_mem_free(TG_MEM_OTHER, h);
}
