/* mirror.c: see mirror.h. */
#include "base/banned.h"
#include "gateway/mirror.h"

#include "base/assert.h"
#include "config/traffic.h"
#include "gateway/internal.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"
#include "observe/metrics.h"

#define MIRROR_MAGIC 0x3170c0b1u

struct tg_mirror {
    uint32_t magic;
    struct tg_list link;   /* in gate->mirrors */
    struct tg_arena arena; /* of all that belongs to it, itself included */
    struct tg_gate *gate;
    struct tg_snapshot *snapshot; /* one reference */
    const struct tg_service_conf *service;
    uint64_t max_body;
    enum tg_method method;
    struct tg_fmt head; /* with framing and the empty line; in the arena */
    struct tg_buf body;
    enum tg_framing framing;
    struct tg_targets *targets; /* one reference */
    struct tg_try try;
    uint64_t sent_at;      /* us */
    struct tg_call *call;  /* NULL: it waits for the body, or is over */
    uint64_t received;     /* bytes of the answer's body */
    struct tg_timer timer; /* the end, whatever happens */
    bool timer_on;
    struct tg_task free_later;
};

static const struct tg_call_events events;

/* ---- Life --------------------------------------------------------------------------------------
 */

static void count(struct tg_gate *gate, enum tg_metric_id result)
{
    tg_metric_inc(gate->worker->cells, result);
}

static void on_free(struct tg_task *task)
{
    struct tg_mirror *m = TG_CONTAINER_OF(task, struct tg_mirror, free_later);
    tg_magic_check(m, MIRROR_MAGIC);
    m->magic = 0;
    tg_targets_unref(&m->targets);
    tg_snapshot_unref(&m->snapshot);
    struct tg_arena arena = m->arena; /* the copy is in it */
    tg_arena_release(&arena);
}

static void finish(struct tg_mirror *m, enum tg_metric_id result)
{
    count(m->gate, result);
    if (m->call != NULL)
        tg_pool_return(m->gate->pool, &m->call, &m->service->policy.pool);
    tg_try_end(&m->try, tg_loop_now(&m->gate->worker->loop));
    if (m->timer_on)
        tg_timer_release(&m->timer);
    m->timer_on = false;
    tg_buf_release(&m->body);
    tg_list_remove(&m->link);
    tg_limit_note(mirrors, --m->gate->mirror_count);
    tg_loop_defer(&m->gate->worker->loop, &m->free_later);
}

static void on_timer(struct tg_timer *timer)
{
    struct tg_mirror *m = TG_CONTAINER_OF(timer, struct tg_mirror, timer);
    tg_magic_check(m, MIRROR_MAGIC);
    finish(m, TG_METRIC_MIRROR_FAILED);
}

static struct tg_mirror *mirror_new(struct tg_request *r, const struct tg_mirror_conf *conf)
{
    struct tg_gate *gate = r->gate;
    struct tg_arena arena;
    tg_arena_init(&arena, gate->worker->slab, (size_t)r->snapshot->settings.limits.request_memory);
    struct tg_mirror *m = tg_arena_zalloc(&arena, sizeof(*m));
    if (m == NULL)
        return NULL;
    m->magic = MIRROR_MAGIC;
    m->arena = arena;
    m->gate = gate;
    m->snapshot = tg_snapshot_ref(r->snapshot);
    m->targets = tg_targets_ref(r->vms->targets);
    m->service = conf->service;
    m->max_body = conf->max_body;
    tg_buf_init(&m->body, gate->worker->slab);
    tg_task_init(&m->free_later, on_free);
    tg_list_push_back(&gate->mirrors, &m->link);
    tg_limit_note(mirrors, ++gate->mirror_count);
    return m;
}

void tg_mirrors_stop(struct tg_gate *gate)
{
    while (!tg_list_is_empty(&gate->mirrors))
        finish(TG_LIST_ENTRY(gate->mirrors.next, struct tg_mirror, link), TG_METRIC_MIRROR_FAILED);
}

/* ---- The copy ----------------------------------------------------------------------------------
 */

static uint64_t known_length(const struct tg_request *r)
{
    if (r->out.body_set)
        return r->out.body.n;
    return r->in.framing == TG_FRAMING_LENGTH && r->unpack == NULL ? r->in.length
                                                                   : r->body.buf.size;
}

void tg_mirror_begin(struct tg_request *r)
{
    const struct tg_mirror_conf *conf = r->route->mirror;
    if (r->mirror_seen || r->in.upgrade || r->in.method == TG_METHOD_CONNECT)
        return;
    r->mirror_seen = true; /* a repeated request has been copied */
    if (!tg_shape_takes(r, conf->percent))
        return;
    if (r->gate->mirror_count >= r->snapshot->settings.limits.mirrors) {
        tg_limit_hit(mirrors);
        count(r->gate, TG_METRIC_MIRROR_BUSY);
    } else if (known_length(r) > conf->max_body) {
        count(r->gate, TG_METRIC_MIRROR_LARGE);
    } else {
        r->mirror = mirror_new(r, conf);
        if (r->mirror == NULL)
            count(r->gate, TG_METRIC_MIRROR_FAILED);
    }
}

/* The request's copy is over before it began. */
static void give_up(struct tg_request *r, enum tg_metric_id why)
{
    struct tg_mirror *m = r->mirror;
    r->mirror = NULL;
    finish(m, why);
}

void tg_mirror_body(struct tg_request *r, struct tg_str data)
{
    struct tg_mirror *m = r->mirror;
    if (m->body.size + data.n > m->max_body)
        give_up(r, TG_METRIC_MIRROR_LARGE);
    else if (tg_buf_append(&m->body, data.p, data.n) != TG_OK)
        give_up(r, TG_METRIC_MIRROR_FAILED);
}

void tg_mirror_drop(struct tg_request *r)
{
    give_up(r, TG_METRIC_MIRROR_INCOMPLETE);
}

/* ---- Sending -----------------------------------------------------------------------------------
 */

static void send_copy(struct tg_mirror *m)
{
    const struct tg_limits *l = &m->snapshot->settings.limits;
    struct tg_call_limits limits = {
        .fields = (uint32_t)l->response_header_count,
        .head = (uint32_t)l->response_headers,
        .buffer = (uint32_t)l->connection_buffer,
        .response = m->service->response_timeout,
        .io = m->service->io_timeout,
    };
    struct iovec piece;
    m->sent_at = tg_loop_now(&m->gate->worker->loop);
    tg_call_begin(m->call, &m->arena, m->method, &limits, &events, m);
    struct tg_fmt *f = tg_call_stage(m->call, m->head.n);
    tg_fmt_add(f, tg_fmt_str(&m->head));
    tg_call_set_framing(m->call, m->framing);
    while (m->body.size > 0) {
        tg_buf_iov(&m->body, &piece, 1);
        tg_call_send_body(m->call, tg_str(piece.iov_base, piece.iov_len));
        tg_buf_consume(&m->body, piece.iov_len);
    }
    tg_call_send_end(m->call, NULL);
}

static void dial(struct tg_mirror *m)
{
    struct tg_pool_target target = {
        .connect_timeout = m->service->connect_timeout,
        .careful = true,
        .conf = &m->service->policy.pool,
        .origin = m->try.origin,
        .route = TG_STR("a mirror"),
    };
    char room[TG_PROXY_HEADER_MAX];
    tg_target_dress(m->service, m->try.balance, tg_target_at(m->try.balance, m->try.index), NULL,
                    NULL, &target, room);
    bool connected;
    if (tg_pool_lease(m->gate->pool, &target, &events, m, &m->call, &connected) != TG_OK)
        finish(m, TG_METRIC_MIRROR_FAILED);
    else if (connected)
        send_copy(m);
}

static void write_copy(struct tg_request *r, struct tg_mirror *m, struct tg_str target)
{
    bool told = m->body.size > 0 || r->in.framing != TG_FRAMING_NONE;
    tg_fmt_init_arena(&m->head, &m->arena, tg_forward_size(r) + m->service->path.n);
    tg_forward_write_for(r, m->service, target, &m->head);
    if (told) {
        tg_fmt_lit(&m->head, "Content-Length: ");
        tg_fmt_u64(&m->head, m->body.size);
        tg_fmt_lit(&m->head, "\r\n");
    }
    tg_fmt_lit(&m->head, "\r\n");
    m->framing = told ? TG_FRAMING_LENGTH : TG_FRAMING_NONE;
    m->method = r->out.method;
}

void tg_mirror_end(struct tg_request *r)
{
    struct tg_mirror *m = r->mirror;
    struct tg_loop *loop = &m->gate->worker->loop;
    struct tg_balance_ask ask = {.now = tg_loop_now(loop), .rand = &m->gate->worker->rand};
    bool breaker;
    r->mirror = NULL;
    if (tg_try_begin(&m->try, m->targets->balances[m->service->index], &ask, &breaker) != TG_OK) {
        finish(m, TG_METRIC_MIRROR_FAILED);
        return;
    }
    write_copy(r, m, tg_target_at(m->try.balance, m->try.index)->host);
    if (m->head.failed || tg_timer_init(&m->timer, &loop->timers, on_timer) != TG_OK) {
        finish(m, TG_METRIC_MIRROR_FAILED);
        return;
    }
    m->timer_on = true;
    tg_timer_set(&m->timer, tg_loop_now(loop) + m->snapshot->settings.limits.request_deadline);
    dial(m);
}

/* ---- The answer --------------------------------------------------------------------------------
 */

static void fail(struct tg_mirror *m, enum tg_err err)
{
    tg_try_failed(&m->try, err, tg_retry_class_of(err, m->sent_at > 0),
                  tg_loop_now(&m->gate->worker->loop));
    finish(m, TG_METRIC_MIRROR_FAILED);
}

static void on_connected(struct tg_call *call)
{
    struct tg_mirror *m = call->owner;
    const char *reason;
    enum tg_err err =
        tg_pool_note_connected(m->gate->pool, &m->call, &m->service->policy.pool, &reason);
    if (err == TG_OK)
        send_copy(m);
    else
        fail(m, err);
}

static void on_nothing(struct tg_call *call)
{
    (void)call;
}

static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    (void)call;
    (void)head;
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    struct tg_mirror *m = call->owner;
    uint64_t now = tg_loop_now(&m->gate->worker->loop);
    tg_try_answered(&m->try, head->status, now - m->sent_at, now);
}

static void on_body(struct tg_call *call, struct tg_str data)
{
    struct tg_mirror *m = call->owner;
    m->received += data.n;
    if (m->received > TG_MIRROR_ANSWER)
        finish(m, TG_METRIC_MIRROR_ANSWERED);
}

static void on_end(struct tg_call *call, const struct tg_fields *trailers)
{
    (void)trailers;
    finish(call->owner, TG_METRIC_MIRROR_ANSWERED);
}

static void on_failed(struct tg_call *call, enum tg_err err, const char *reason)
{
    (void)reason;
    fail(call->owner, err);
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
