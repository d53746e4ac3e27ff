/* fetch.c: see fetch.h.
 *
 * The connection goes back to the pool, or is closed, before on_done is called: a fetch that is
 * done holds memory only.
 */
#include "base/banned.h"
#include "gateway/fetch.h"

#include "base/assert.h"
#include "gateway/internal.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"
#include "http/h1_write.h"

#define FETCH_MAGIC 0x0fe7c400u

static const struct tg_call_events events;

static void fail(struct tg_fetch *fetch, enum tg_err err, const char *reason);

static struct tg_loop *loop_of(const struct tg_fetch *fetch)
{
    return &fetch->gate->worker->loop;
}

/* ---- Life ---- */

static void on_free(struct tg_task *task)
{
    struct tg_fetch *fetch = TG_CONTAINER_OF(task, struct tg_fetch, free_later);
    tg_magic_check(fetch, FETCH_MAGIC);
    fetch->magic = 0;
    struct tg_arena arena = fetch->arena; /* the fetch is in it */
    tg_arena_release(&arena);
}

static void on_read(struct tg_task *task)
{
    struct tg_fetch *fetch = TG_CONTAINER_OF(task, struct tg_fetch, read_later);
    tg_magic_check(fetch, FETCH_MAGIC);
    if (fetch->call != NULL)
        tg_call_read(fetch->call, true);
}

enum tg_err tg_fetch_new(struct tg_vm_entry *entry, struct tg_fetch **out)
{
    struct tg_gate *gate = entry->host.gate;
    struct tg_arena arena;
    if (entry->fetches >= TG_FETCHES_MAX)
        return TG_E_LIMIT;
    tg_arena_init(&arena, gate->worker->slab, (size_t)entry->limits.request_memory);
    struct tg_fetch *fetch = tg_arena_zalloc(&arena, sizeof(*fetch));
    if (fetch == NULL)
        return TG_E_NOMEM;
    fetch->magic = FETCH_MAGIC;
    fetch->arena = arena;
    fetch->gate = gate;
    fetch->entry = tg_vm_entry_ref(entry);
    fetch->targets = tg_targets_ref(entry->host.set->targets);
    fetch->snapshot = tg_snapshot_ref(entry->host.set->snapshot);
    entry->fetches++;
    tg_fmt_init_arena(&fetch->target, &fetch->arena, 128);
    tg_fmt_init_arena(&fetch->fields, &fetch->arena, 256);
    tg_buf_init(&fetch->received, gate->worker->slab);
    tg_task_init(&fetch->read_later, on_read);
    tg_task_init(&fetch->free_later, on_free);
    *out = fetch;
    return TG_OK;
}

static void let_go(struct tg_fetch *fetch)
{
    if (fetch->call != NULL)
        tg_pool_return(fetch->gate->pool, &fetch->call, &fetch->service->policy.pool);
}

void tg_fetch_free(struct tg_fetch **fetch)
{
    struct tg_fetch *taken = *fetch;
    *fetch = NULL;
    if (taken == NULL)
        return;
    tg_roster_leave(&taken->name_waiter);
    let_go(taken);
    tg_try_end(&taken->try, tg_loop_now(loop_of(taken)));
    tg_targets_unref(&taken->targets);
    tg_task_cancel(&taken->read_later);
    tg_buf_release(&taken->received);
    taken->entry->fetches--;
    tg_snapshot_unref(&taken->snapshot);
    tg_vm_entry_unref(&taken->entry);
    tg_loop_defer(loop_of(taken), &taken->free_later);
}

void tg_fetch_read(struct tg_fetch *fetch)
{
    tg_loop_defer(loop_of(fetch), &fetch->read_later);
}

static void finish(struct tg_fetch *fetch, enum tg_err err, const char *reason)
{
    fetch->err = err;
    fetch->reason = reason;
    let_go(fetch);
    tg_try_end(&fetch->try, tg_loop_now(loop_of(fetch)));
    fetch->on_done(fetch);
}

/* ---- Sending ---- */

static const struct tg_balance_target *at(const struct tg_fetch *fetch)
{
    return tg_target_at(fetch->try.balance, fetch->index);
}

/* Path and query, with the service's own path in front. */
static void write_target(const struct tg_fetch *fetch, struct tg_fmt *f)
{
    struct tg_str target = tg_fmt_str(&fetch->target);
    struct tg_str path = tg_str_sub(target, 0, tg_str_find(target, '?', 0));
    if (fetch->service->path.n == 0) {
        tg_fmt_add(f, target);
        return;
    }
    tg_rewrite_join(f, fetch->service->path, path, path);
    tg_fmt_add(f, tg_str_sub(target, path.n, target.n));
}

static enum tg_framing write_head(const struct tg_fetch *fetch, struct tg_fmt *f)
{
    bool told = fetch->body.p != NULL || fetch->method == TG_METHOD_POST ||
                fetch->method == TG_METHOD_PUT || fetch->method == TG_METHOD_PATCH;
    tg_fmt_add(f, fetch->method_name);
    tg_fmt_char(f, ' ');
    write_target(fetch, f);
    tg_fmt_lit(f, " HTTP/1.1\r\n");
    tg_h1_write_field(f, TG_STR("Host"), at(fetch)->host);
    tg_fmt_add(f, tg_fmt_str(&fetch->fields));
    if (told) {
        tg_fmt_lit(f, "Content-Length: ");
        tg_fmt_u64(f, fetch->body.n);
        tg_fmt_lit(f, "\r\n");
    }
    tg_fmt_lit(f, "\r\n");
    return told ? TG_FRAMING_LENGTH : TG_FRAMING_NONE;
}

static void send_request(struct tg_fetch *fetch)
{
    const struct tg_limits *l = &fetch->entry->limits;
    struct tg_call_limits limits = {
        .fields = (uint32_t)l->response_header_count,
        .head = (uint32_t)l->response_headers,
        .buffer = (uint32_t)l->connection_buffer,
        .response = fetch->service->response_timeout,
        .io = fetch->service->io_timeout,
        .deadline = fetch->deadline,
    };
    size_t size =
        256 + fetch->method_name.n + fetch->service->path.n + fetch->target.n + fetch->fields.n;
    fetch->connected = true;
    fetch->sent_at = tg_loop_now(loop_of(fetch));
    tg_call_begin(fetch->call, &fetch->arena, fetch->method, &limits, &events, fetch);
    struct tg_fmt *f = tg_call_stage(fetch->call, size);
    enum tg_framing framing = write_head(fetch, f);
    tg_call_set_framing(fetch->call, framing);
    if (fetch->body.n > 0)
        tg_call_send_body(fetch->call, fetch->body);
    tg_call_send_end(fetch->call, NULL);
}

static enum tg_err connect_next(struct tg_fetch *fetch, bool fresh)
{
    uint64_t now = tg_loop_now(loop_of(fetch));
    uint64_t left = fetch->deadline > now ? fetch->deadline - now : 1;
    struct tg_pool_target target = {
        .connect_timeout = TG_MIN(fetch->service->connect_timeout, left),
        .fresh = fresh,
        .careful = !tg_method_is_idempotent(fetch->method),
        .conf = &fetch->service->policy.pool,
        .origin = fetch->try.origin,
        .request = fetch->entry->host.plugin->name,
        .route = TG_STR("tg.http"),
    };
    char room[TG_PROXY_HEADER_MAX];
    tg_target_dress(fetch->service, fetch->try.balance, at(fetch), NULL, NULL, &target, room);
    if (fetch->by_http1)
        target.http = TG_ORIGIN_HTTP1;
    bool connected;
    fetch->connected = false;
    fetch->attempts++;
    enum tg_err err =
        tg_pool_lease(fetch->gate->pool, &target, &events, fetch, &fetch->call, &connected);
    if (err == TG_OK && connected)
        send_request(fetch);
    return err;
}

static enum tg_err try_next(struct tg_fetch *fetch);

static void on_names(struct tg_roster_waiter *waiter)
{
    struct tg_fetch *fetch = TG_CONTAINER_OF(waiter, struct tg_fetch, name_waiter);
    enum tg_err err = try_next(fetch);
    if (err != TG_OK)
        finish(fetch, err, NULL);
}

/* For the first answer about them: for how long is up to who waits for the fetch. */
static enum tg_err wait_for_names(struct tg_fetch *fetch)
{
    fetch->name_waiter.on_ready = on_names;
    tg_roster_wait(fetch->targets->rosters[fetch->service->index], &fetch->name_waiter);
    return TG_OK;
}

/* Another target, or the first. */
static enum tg_err try_next(struct tg_fetch *fetch)
{
    bool breaker;
    struct tg_balance_ask ask = {
        .now = tg_loop_now(loop_of(fetch)),
        .tried = fetch->tried,
        .tried_count = fetch->tried_count,
        .rand = &fetch->gate->worker->rand,
    };
    tg_try_end(&fetch->try, ask.now);
    struct tg_balance *balance = fetch->targets->balances[fetch->service->index];
    if (fetch->chosen_from != balance)
        ask.tried_count = fetch->tried_count = 0; /* other targets, other indexes */
    fetch->chosen_from = balance;
    enum tg_err err = tg_try_begin(&fetch->try, balance, &ask, &breaker);
    if (err == TG_E_UNAVAILABLE && tg_balance_count(balance) == 0)
        err = tg_targets_state(fetch->targets, fetch->service->index);
    if (err == TG_E_AGAIN)
        return wait_for_names(fetch);
    if (err == TG_E_DNS)
        tg_target_count_failure(fetch->gate, err, true);
    if (err != TG_OK)
        return err;
    fetch->index = fetch->try.index;
    if (fetch->tried_count < TG_TRIES_MAX)
        fetch->tried[fetch->tried_count++] = fetch->index;
    return connect_next(fetch, false);
}

enum tg_err tg_fetch_start(struct tg_fetch *fetch)
{
    if (fetch->target.failed || fetch->fields.failed)
        return TG_E_NOMEM;
    return try_next(fetch);
}

/* ---- What the connection tells ---- */

static void on_connected(struct tg_call *call)
{
    struct tg_fetch *fetch = call->owner;
    const char *reason;
    enum tg_err err = tg_pool_note_connected(fetch->gate->pool, &fetch->call,
                                             &fetch->service->policy.pool, &reason);
    if (err == TG_OK)
        send_request(fetch);
    else
        fail(fetch, err, reason);
}

/* Interim answers mean nothing to a plugin (RFC 9110, 15.2). */
static void on_info(struct tg_call *call, const struct tg_response_head *head)
{
    (void)call;
    (void)head;
}

/* Head or bytes are there: nothing more until they are taken. */
static void hand_on(struct tg_fetch *fetch)
{
    tg_call_read(fetch->call, false);
    fetch->on_piece(fetch);
}

static void on_head(struct tg_call *call, const struct tg_response_head *head)
{
    struct tg_fetch *fetch = call->owner;
    uint64_t now = tg_loop_now(loop_of(fetch));
    fetch->head = *head;
    tg_try_answered(&fetch->try, head->status, now - fetch->sent_at, now);
    if (head->status == 101)
        finish(fetch, TG_E_PROTOCOL, "origin: 101 that nobody asked for");
    else if (head->framing == TG_FRAMING_LENGTH && head->length > fetch->max_body)
        finish(fetch, TG_E_LIMIT, NULL);
    else if (fetch->on_piece != NULL)
        hand_on(fetch);
}

static void on_body(struct tg_call *call, struct tg_str data)
{
    struct tg_fetch *fetch = call->owner;
    if (data.n > fetch->max_body - fetch->body_seen) {
        finish(fetch, TG_E_LIMIT, NULL);
        return;
    }
    fetch->body_seen += data.n;
    if (tg_buf_append(&fetch->received, data.p, data.n) != TG_OK)
        finish(fetch, TG_E_NOMEM, NULL);
    else if (fetch->on_piece != NULL)
        hand_on(fetch);
}

static void on_end(struct tg_call *call, const struct tg_fields *trailers)
{
    (void)trailers;
    finish(call->owner, TG_OK, NULL);
}

static void on_pause(struct tg_call *call)
{
    (void)call; /* nothing is kept back */
}

static void on_drained(struct tg_call *call)
{
    (void)call; /* all of the request was given to the connection at once */
}

static uint32_t count_of(const struct tg_fetch *fetch)
{
    const struct tg_balance *balance = fetch->targets->balances[fetch->service->index];
    return balance != NULL ? tg_balance_count(balance) : 0;
}

/* The origin did nothing of the request: it may go once more, though not for ever. */
static bool is_untouched(const struct tg_fetch *fetch, enum tg_err err)
{
    const struct tg_call *call = fetch->call;
    if (call == NULL || fetch->attempts >= TG_TRIES_MAX)
        return false;
    return call->refusal != TG_CALL_NOT_REFUSED ||
           (tg_target_was_stale(call, err) && tg_method_is_idempotent(fetch->method));
}

/* The connection, or what came of it, is no good. */
static void fail(struct tg_fetch *fetch, enum tg_err err, const char *reason)
{
    bool stale = is_untouched(fetch, err);
    if (stale)
        fetch->by_http1 |= fetch->call->refusal == TG_CALL_WANTS_HTTP1;
    let_go(fetch);
    if (!stale) {
        tg_target_count_failure(fetch->gate, err, !fetch->connected);
        tg_try_failed(&fetch->try, err, tg_retry_class_of(err, fetch->connected),
                      tg_loop_now(loop_of(fetch)));
    }
    bool in_time = tg_loop_now(loop_of(fetch)) < fetch->deadline;
    bool another =
        !fetch->connected && in_time && fetch->attempts < TG_MIN(count_of(fetch), TG_TRIES_MAX);
    if (stale)
        err = connect_next(fetch, true);
    else if (another)
        err = try_next(fetch);
    else if (err == TG_OK)
        err = TG_E_CLOSED;
    if (!(stale || another) || err != TG_OK)
        finish(fetch, err, reason);
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
    .on_pause = on_pause,
    .on_drained = on_drained,
    .on_failed = on_failed,
};
