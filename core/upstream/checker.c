/* checker.c: see checker.h.
 *
 *   WAITING --- its time has come ---> ASKING --- answer, failure, timeout ---> WAITING
 *
 * A probe's memory and its arena go at the end of the loop's round, as connections ask. */
#include "base/banned.h"
#include "upstream/checker.h"

#include "base/assert.h"
#include "http/h1_write.h"
#include "http/h2_client.h"
#include "observe/log.h"

#define PROBE_MAGIC 0xc4ec4e01u
#define HEAD_MAX    16384u
#define BODY_MAX    65536u

/* A check has a connection of its own, and nothing is kept of it. */
static const struct tg_pool_conf once = {
    .max_requests = 1, .streams = 1, .window = TG_H2_WINDOW, .head = HEAD_MAX};

struct probe {
    uint32_t magic;
    struct tg_checker *checker;
    struct tg_list link;
    struct tg_fleet *fleet;   /* held */
    struct tg_origin *origin; /* held */
    struct tg_addr addr;
    struct tg_str host, domain; /* borrowed, as is the configuration */
    struct tg_tls_context *tls;
    enum tg_origin_http http;
    const struct tg_check_conf *conf;
    bool wanted;
    bool asking;
    uint64_t started; /* us */
    struct tg_timer timer;
    struct tg_call *call;  /* leased while asking */
    struct tg_arena arena; /* of the exchange */
    struct tg_buf body;    /* as far as it is looked at */
    struct tg_task clean;  /* returns the arena; frees the probe where it is not wanted */
};

struct tg_checker {
    struct tg_worker *worker;
    struct tg_registry *registry;
    struct tg_pool *pool; /* of its own, which keeps nothing */
    struct tg_list probes;
};

static const struct tg_call_events events;

static uint64_t now_of(const struct probe *p)
{
    return tg_loop_now(&p->checker->worker->loop);
}

/* ---- The end of a check ------------------------------------------------------------------------
 */

/* `every`, more or less by half the jitter. */
static uint64_t next_distance(const struct probe *p)
{
    uint64_t spread = (uint64_t)((double)p->conf->every * p->conf->jitter);
    uint64_t least = p->conf->every - spread / 2;
    return least + (spread > 0 ? tg_rand_below(&p->checker->worker->rand, spread) : 0);
}

static void log_verdict(const struct probe *p, bool good, const char *reason)
{
    if (good)
        tg_log_kv(TG_LOG_INFO, "health", "a target is up again",
                  tg_log_str("service", p->fleet->name), tg_log_str("target", p->origin->name));
    else
        tg_log_kv(TG_LOG_WARN, "health", "a target is down", tg_log_str("service", p->fleet->name),
                  tg_log_str("target", p->origin->name), tg_log_str("reason", tg_str_c(reason)));
}

static void stop_asking(struct probe *p)
{
    if (!p->asking)
        return;
    p->asking = false;
    tg_pool_return(p->checker->pool, &p->call, &once);
    tg_loop_defer(&p->checker->worker->loop, &p->clean);
}

static void ask_again(struct probe *p)
{
    tg_timer_set(&p->timer, TG_MAX(p->started + next_distance(p), now_of(p) + 1));
}

static void conclude(struct probe *p, bool good, const char *reason)
{
    stop_asking(p);
    if (tg_origin_note_check(p->origin, p->conf, now_of(p), good, reason))
        log_verdict(p, good, reason);
    ask_again(p);
}

/* Nobody could be asked, or no answer understood. What this process lacks for it is no verdict. */
static void fail(struct probe *p, enum tg_err err, const char *reason)
{
    if (reason == NULL)
        reason = tg_err_text(err);
    if (!tg_retry_is_own(err)) {
        conclude(p, false, reason);
        return;
    }
    stop_asking(p);
    tg_log_every(10, TG_LOG_WARN, "health", "a check could not be made: %s", reason);
    ask_again(p);
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

static void send_request(struct probe *p);

static enum tg_err dial(struct probe *p)
{
    bool connected;
    struct tg_pool_target target = {
        .addr = &p->addr,
        .connect_timeout = p->conf->timeout,
        .tls = p->tls,
        .tls_name = p->domain,
        .http = p->http,
        .fresh = true,
        .conf = &once,
        .route = TG_STR("a check"),
    };
    return tg_pool_lease(p->checker->pool, &target, &events, p, &p->call, &connected);
}

static void begin_asking(struct probe *p)
{
    tg_arena_init(&p->arena, p->checker->worker->slab, (size_t)HEAD_MAX * 8);
    p->started = now_of(p);
    enum tg_err err = dial(p);
    if (err != TG_OK) {
        fail(p, err, NULL);
        return;
    }
    p->asking = true;
    tg_timer_set(&p->timer, p->started + p->conf->timeout);
}

static void on_timer(struct tg_timer *timer)
{
    struct probe *p = TG_CONTAINER_OF(timer, struct probe, timer);
    tg_magic_check(p, PROBE_MAGIC);
    if (p->asking)
        conclude(p, false, tg_err_text(TG_E_TIMEOUT));
    else if (!tg_list_is_empty(&p->clean.link)) /* the last one ended in a deferred call */
        tg_timer_set(&p->timer, now_of(p) + 1);
    else
        begin_asking(p);
}

static void send_request(struct probe *p)
{
    const struct tg_check_conf *conf = p->conf;
    struct tg_call_limits limits = {.fields = 200,
                                    .head = HEAD_MAX,
                                    .buffer = HEAD_MAX,
                                    .response = conf->timeout,
                                    .io = conf->timeout};
    struct tg_str host = conf->host.n > 0 ? conf->host : p->host;
    tg_call_begin(p->call, &p->arena, tg_method_from_name(conf->method), &limits, &events, p);
    struct tg_fmt *f = tg_call_stage(p->call, conf->path.n + host.n + 128);
    tg_fmt_add(f, conf->method);
    tg_fmt_char(f, ' ');
    tg_fmt_add(f, conf->path);
    tg_fmt_lit(f, " HTTP/1.1\r\n");
    tg_h1_write_field(f, TG_STR("Host"), host);
    tg_fmt_lit(f, "User-Agent: tidegate-health\r\nConnection: close\r\n\r\n");
    tg_call_send_end(p->call, NULL);
}

static void on_connected(struct tg_call *call)
{
    struct probe *p = call->owner;
    const char *reason;
    enum tg_err err = tg_pool_note_connected(p->checker->pool, &p->call, &once, &reason);
    if (err != TG_OK)
        fail(p, err, reason);
    else if (p->conf->kind == TG_CHECK_TCP)
        conclude(p, true, "");
    else
        send_request(p);
}

static bool is_good_status(const struct tg_check_conf *conf, unsigned status)
{
    if (conf->status_count == 0)
        return status >= 200 && status < 400;
    for (uint32_t i = 0; i < conf->status_count; i++) {
        if (conf->statuses[i] == status)
            return true;
    }
    return false;
}

static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    (void)call;
    (void)head;
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    struct probe *p = call->owner;
    char reason[32];
    if (!is_good_status(p->conf, head->status)) {
        snprintf(reason, sizeof(reason), "status %u", head->status);
        conclude(p, false, reason);
    } else if (p->conf->body.n == 0) {
        conclude(p, true, "");
    }
}

static void judge_body(struct probe *p)
{
    char *all = tg_mem_alloc(TG_MEM_OTHER, p->body.size + 1);
    if (all == NULL) {
        fail(p, TG_E_NOMEM, NULL);
        return;
    }
    tg_buf_copy_out(&p->body, all);
    bool found = memmem(all, p->body.size, p->conf->body.p, p->conf->body.n) != NULL;
    tg_mem_free(TG_MEM_OTHER, all);
    conclude(p, found, found ? "" : "the body lacks the text");
}

static void on_body(struct tg_call *call, struct tg_str data)
{
    struct probe *p = call->owner;
    size_t room = BODY_MAX - p->body.size;
    if (tg_buf_append(&p->body, data.p, TG_MIN(data.n, room)) != TG_OK)
        fail(p, TG_E_NOMEM, NULL);
    else if (data.n >= room)
        judge_body(p);
}

static void on_end(struct tg_call *call, const struct tg_fields *trailers)
{
    (void)trailers;
    judge_body(call->owner);
}

static void on_nothing(struct tg_call *call)
{
    (void)call;
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    fail(call->owner, err, reason);
}

static const struct tg_call_events events = {
    .on_connected = on_connected,
    .on_info = on_info,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_pause = on_nothing,
    .on_drained = on_nothing,
    .on_failed = on_failed,
};

/* ---- Probes ------------------------------------------------------------------------------------
 */

static void free_probe(struct probe *p)
{
    tg_task_cancel(&p->clean);
    tg_arena_release(&p->arena);
    tg_buf_release(&p->body);
    p->magic = 0;
    tg_mem_free(TG_MEM_CONNECTION, p);
}

static void on_clean(struct tg_task *task)
{
    struct probe *p = TG_CONTAINER_OF(task, struct probe, clean);
    tg_magic_check(p, PROBE_MAGIC);
    if (p->origin == NULL) {
        free_probe(p);
        return;
    }
    tg_arena_release(&p->arena);
    tg_buf_release(&p->body);
}

/* Its origin is let go of; its memory goes at the end of the round. */
static void drop_probe(struct probe *p)
{
    uint64_t now = now_of(p);
    stop_asking(p);
    tg_timer_release(&p->timer);
    tg_list_remove(&p->link);
    tg_origin_unref(&p->origin, now);
    tg_fleet_unref(&p->fleet);
    tg_loop_defer(&p->checker->worker->loop, &p->clean);
}

static struct probe *find_probe(struct tg_checker *checker, struct tg_str service,
                                struct tg_str target)
{
    TG_LIST_FOREACH(&checker->probes, it)
    {
        struct probe *p = TG_LIST_ENTRY(it, struct probe, link);
        if (tg_str_eq(p->fleet->name, service) && tg_str_eq(p->origin->name, target))
            return p;
    }
    return NULL;
}

static struct probe *make_probe(struct tg_checker *checker, struct tg_str service,
                                struct tg_str target, const struct tg_addr *addr)
{
    struct tg_worker *worker = checker->worker;
    struct probe *p = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->magic = PROBE_MAGIC;
    p->checker = checker;
    tg_list_init(&p->link);
    tg_task_init(&p->clean, on_clean);
    tg_buf_init(&p->body, worker->slab);
    tg_arena_init(&p->arena, worker->slab, HEAD_MAX);
    p->fleet = tg_fleet_ref(checker->registry, service);
    if (p->fleet != NULL)
        p->origin = tg_origin_ref(p->fleet, target, addr, tg_loop_now(&worker->loop));
    if (p->origin == NULL || tg_timer_init(&p->timer, &worker->loop.timers, on_timer) != TG_OK) {
        tg_origin_unref(&p->origin, tg_loop_now(&worker->loop));
        tg_fleet_unref(&p->fleet);
        free_probe(p);
        return NULL;
    }
    tg_list_push_back(&checker->probes, &p->link);
    return p;
}

/* ---- The checker -------------------------------------------------------------------------------
 */

struct tg_checker *tg_checker_new(struct tg_worker *worker, struct tg_registry *registry,
                                  const struct tg_pool_dialer *dialer)
{
    struct tg_checker *checker = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*checker));
    if (checker == NULL)
        return NULL;
    checker->worker = worker;
    checker->registry = registry;
    checker->pool = tg_pool_new(worker);
    if (checker->pool == NULL) {
        tg_mem_free(TG_MEM_CONNECTION, checker);
        return NULL;
    }
    tg_pool_set_dialer(checker->pool, dialer);
    tg_list_init(&checker->probes);
    return checker;
}

void tg_checker_free(struct tg_checker **checker)
{
    struct tg_checker *taken = *checker;
    *checker = NULL;
    if (taken == NULL)
        return;
    TG_LIST_FOREACH(&taken->probes, it)
    drop_probe(TG_LIST_ENTRY(it, struct probe, link));
    tg_loop_run_deferred(&taken->worker->loop);
    tg_pool_free(&taken->pool);
    tg_mem_free(TG_MEM_CONNECTION, taken);
}

void tg_checker_begin(struct tg_checker *checker)
{
    TG_LIST_FOREACH(&checker->probes, it)
    TG_LIST_ENTRY(it, struct probe, link)->wanted = false;
}

enum tg_err tg_checker_want(struct tg_checker *checker, struct tg_str service,
                            const struct tg_balance_target *target, struct tg_tls_context *tls,
                            enum tg_origin_http http, const struct tg_check_conf *conf)
{
    struct probe *p = find_probe(checker, service, target->name);
    bool is_new = p == NULL;
    if (is_new)
        p = make_probe(checker, service, target->name, &target->addr);
    if (p == NULL)
        return TG_E_NOMEM;
    p->wanted = true;
    p->tls = tls;
    p->http = http;
    p->conf = conf;
    p->addr = target->addr;
    p->host = target->host;
    p->domain = target->domain;
    if (is_new) {
        uint64_t spread = (uint64_t)((double)conf->every * conf->jitter) + 1;
        tg_timer_set(&p->timer, now_of(p) + 1 + tg_rand_below(&checker->worker->rand, spread));
    }
    return TG_OK;
}

void tg_checker_end(struct tg_checker *checker)
{
    TG_LIST_FOREACH(&checker->probes, it)
    {
        struct probe *p = TG_LIST_ENTRY(it, struct probe, link);
        if (p->wanted)
            continue;
        tg_origin_forget_check(p->origin, now_of(p));
        drop_probe(p);
    }
}
