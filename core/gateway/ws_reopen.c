/* ws_reopen.c: another connection to the origin for a WebSocket whose own broke, while its client
 * is there and notices nothing: see ws.h.
 *
 * The request goes back to CONNECT, and proxy.c leases and shakes hands as for any other; what it
 * would answer the client for a failure comes here instead. Attempts follow each other with pauses
 * that double, half of each by chance, until reconnect.deadline. */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/ws.h"

#include "observe/metrics.h"

#define DOUBLINGS_MAX 20

bool tg_ws_is_reopening(const struct tg_request *r)
{
    return r->ws != NULL && r->ws->state == TG_WS_STATE_REOPENING;
}

struct tg_arena *tg_ws_exchange_arena(struct tg_request *r)
{
    return tg_ws_is_reopening(r) ? &r->ws->arena : &r->arena;
}

bool tg_ws_keep(struct tg_ws *ws, struct tg_str data)
{
    return tg_buf_append(&ws->backlog, data.p, data.n) == TG_OK;
}

static void log_line(const struct tg_ws *ws, enum tg_log_level level, const char *message)
{
    const struct tg_request *r = ws->r;
    tg_log_kv(level, "websocket", message, tg_log_str("service", r->service->name),
              tg_log_str("request", tg_str(r->id, sizeof(r->id))),
              tg_log_u64("attempts", ws->attempts), tg_log_u64("buffered", ws->backlog.size));
}

/* The arena of the exchange before, which is over, becomes that of the next. */
static void clear_arena(struct tg_ws *ws)
{
    const struct tg_request *r = ws->r;
    if (ws->has_arena)
        tg_arena_release(&ws->arena);
    tg_arena_init(&ws->arena, r->gate->worker->slab,
                  (size_t)r->snapshot->settings.limits.request_memory);
    ws->has_arena = true;
}

static void give_up(struct tg_ws *ws)
{
    struct tg_request *r = ws->r;
    tg_metric_inc(r->gate->worker->cells, TG_METRIC_WEBSOCKET_RECONNECTS_BAD);
    log_line(ws, TG_LOG_WARN, "no new connection to the origin in time");
    if (r->state != TG_REQUEST_TUNNEL)
        tg_request_set_state(r, TG_REQUEST_TUNNEL);
    ws->state = TG_WS_STATE_OPEN;
    ws->origin.ended = ws->origin.shut = ws->origin.deaf = true;
    tg_ws_note_close(ws, TG_WS_CODE_LOST, "origin");
    tg_ws_tell(ws, &ws->client, TG_WS_CODE_INTERNAL, TG_STR("the origin is gone"));
    tg_ws_begin_closing(ws);
    tg_ws_go_on(ws);
}

bool tg_ws_reopen(struct tg_ws *ws)
{
    struct tg_request *r = ws->r;
    if (!ws->conf->reconnect.given || ws->state != TG_WS_STATE_OPEN || ws->client.deaf)
        return false;
    ws->state = TG_WS_STATE_REOPENING;
    ws->attempts = 0;
    ws->origin.anew = true;
    ws->origin.reading = false;
    tg_buf_release(&ws->origin.held);
    r->deadline = tg_request_now(r) + ws->conf->reconnect.deadline;
    log_line(ws, TG_LOG_INFO, "the origin is gone; another connection is sought");
    clear_arena(ws);
    if (tg_ws_renew_handshake(ws) == TG_OK)
        tg_proxy_reopen(r);
    else
        give_up(ws);
    return true;
}

/* The pause before the next attempt, us. */
static uint64_t pause_of(struct tg_ws *ws)
{
    const struct tg_reconnect_conf *conf = &ws->conf->reconnect;
    unsigned doublings = TG_MIN(ws->attempts, (unsigned)DOUBLINGS_MAX);
    uint64_t most = TG_MIN(conf->backoff << doublings, TG_MAX(conf->backoff, conf->max_backoff));
    return most / 2 + tg_rand_below(&ws->r->gate->worker->rand, most / 2 + 1);
}

void tg_ws_reopen_failed(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    uint64_t at = tg_request_now(r) + pause_of(ws);
    ws->attempts++;
    tg_request_clear_clock(r);
    if (at >= r->deadline) {
        give_up(ws);
        return;
    }
    if (r->state != TG_REQUEST_CONNECT)
        tg_request_set_state(r, TG_REQUEST_CONNECT);
    clear_arena(ws);
    if (tg_request_set_clock(r, at) != TG_OK)
        give_up(ws);
}

void tg_ws_reopened(struct tg_request *r)
{
    struct tg_ws *ws = r->ws;
    tg_metric_inc(r->gate->worker->cells, TG_METRIC_WEBSOCKET_RECONNECTS_GOOD);
    log_line(ws, TG_LOG_INFO, "a new connection to the origin");
    ws->reopens++;
    ws->state = TG_WS_STATE_OPEN;
    while (ws->backlog.size > 0) {
        struct tg_str piece = tg_buf_piece(&ws->backlog, 0);
        tg_tunnel_to_origin(r, piece);
        tg_buf_consume(&ws->backlog, piece.n);
    }
    ws->message_at = tg_request_now(r);
    if (tg_request_set_clock(r, tg_request_now(r)) != TG_OK) /* when it is due is found then */
        tg_request_break(r, "no_memory");
    else
        tg_ws_go_on(ws);
}
