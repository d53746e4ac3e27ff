/* h2_frames.c: what nghttp2 tells: header blocks, bodies, ends of streams; and its settings.
 *
 * A header block belongs to one stream and nothing comes in between (RFC 9113, 4.3), so the server
 * remembers whose it is. nghttp2 checks messages too; what it finds malformed it resets by itself,
 * and tells the stream's end afterwards. */
#include "base/banned.h"
#include "http/h2_stream.h"

#include "http/ws.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define CONNECTION_WINDOW (2 * TG_H2_WINDOW)
#define BOMB              4    /* times the size that a block may have: no mistake any more */
#define ACKS_MORE         4096 /* that may be owed at once: those of one read */
#define FIRST_UNKNOWN     (NGHTTP2_CONTINUATION + 1)

static struct tg_h2_stream *stream_at(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- Header blocks -----------------------------------------------------------------------------
 */

static bool open_block(struct tg_h2_stream *st)
{
    struct tg_arena *arena = st->stream.arena;
    struct tg_h2_block *block = tg_arena_alloc(arena, sizeof(*block));
    if (block == NULL)
        return false;
    tg_h2_block_init(block, arena, (uint32_t)tg_h2_stream_limits(st)->request_header_count,
                     tg_h2_stream_limits(st)->request_headers);
    st->block = block;
    return true;
}

/* The stream is not served: the client may try it again. */
static int refuse_stream(struct tg_h2_server *s, int32_t id)
{
    (void)nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct tg_h2_server *s = arg;
    int32_t id = frame->hd.stream_id;
    struct tg_h2_stream *st;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        st = tg_h2_stream_new(s, id);
        if (st == NULL)
            return refuse_stream(s, id);
        s->requests++;
        (void)nghttp2_session_set_stream_user_data(session, id, st); /* the stream is there */
    } else {
        st = stream_at(session, id);
    }
    s->heading = st;
    s->heading_at = tg_h2_server_now(s);
    if (st != NULL && !st->dead && st->stream.events != NULL && !open_block(st))
        tg_h2_stream_break(st, TG_E_NOMEM, 0, NGHTTP2_REFUSED_STREAM);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    struct tg_h2_server *s = arg;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name);
    nghttp2_vec v = nghttp2_rcbuf_get_buf(value);
    (void)session;
    (void)frame;
    (void)flags;
    if (s->heading == NULL || s->heading->block == NULL || s->heading->stream.events == NULL)
        return 0;
    struct tg_h2_block *block = s->heading->block;
    tg_h2_block_add(block, tg_str((const char *)n.base, n.len),
                    tg_str((const char *)v.base, v.len));
    return block->size <= BOMB * block->max_size ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* What nghttp2 would leave out, and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
    return on_header(session, frame, name, value, flags, arg);
}

/* A request that makes us reset its stream counts as one that the client has reset; false: that was
 * one too many. */
static bool note_malformed(struct tg_h2_stream *st, const char *why)
{
    tg_log_kv(TG_LOG_DEBUG, "http", "malformed request", tg_log_str("reason", tg_str_c(why)),
              tg_log_u64("stream", (uint64_t)st->id));
    tg_metric_inc(st->server->conn.worker->cells, TG_METRIC_H2_MALFORMED);
    return tg_h2_server_count(st->server, TG_H2_FLOOD_RESETS);
}

static void malformed(struct tg_h2_stream *st, const char *why)
{
    if (note_malformed(st, why))
        tg_h2_stream_break(st, TG_E_PROTOCOL, 0, NGHTTP2_PROTOCOL_ERROR);
}

/* RFC 8441: a CONNECT with a protocol is to the gateway what it is in HTTP/1.1, a GET that wishes
 * to upgrade. The key that it has there proves nothing here; the origin wants one. */
static bool read_protocol(struct tg_request_head *head, struct tg_arena *arena,
                          struct tg_refusal *refusal)
{
    static const struct tg_str name = {"sec-websocket-key", 17};
    char key[TG_WS_KEY_TEXT];
    if (head->protocol.p == NULL)
        return true;
    if (!tg_str_eq_nocase(head->protocol, TG_STR("websocket")))
        return tg_head_refuse(refusal, 501, "protocol not known");
    tg_ws_make_key(key);
    struct tg_str copy = tg_arena_copy(arena, tg_str(key, sizeof(key)));
    if (copy.p == NULL || tg_fields_set(&head->fields, name, copy) != TG_OK ||
        tg_fields_add_id(&head->fields, TG_FIELD_UPGRADE, head->protocol) != TG_OK)
        return tg_head_refuse(refusal, 503, "out of memory for the head");
    head->method = TG_METHOD_GET;
    head->method_name = TG_STR("GET");
    head->framing = TG_FRAMING_NONE;
    head->expect_continue = false;
    head->upgrade = true;
    return true;
}

static void read_request(struct tg_h2_stream *st, bool ended)
{
    struct tg_head_limits limits = {.fields =
                                        (uint32_t)tg_h2_stream_limits(st)->request_header_count,
                                    .target = (size_t)tg_h2_stream_limits(st)->request_target,
                                    .merge_slashes = st->merge_slashes};
    struct tg_h2_block *block = st->block;
    struct tg_request_head *head = st->head;
    struct tg_refusal refusal;
    st->block = NULL;
    st->in_done = ended;
    bool good = tg_h2_block_request(block, &limits, ended, head, &refusal) &&
                read_protocol(head, st->stream.arena, &refusal);
    st->method = head->method;
    if (!good && refusal.status == 0) {
        malformed(st, refusal.reason);
        return;
    }
    if (good && head->framing == TG_FRAMING_LENGTH &&
        head->length > tg_h2_stream_limits(st)->request_body) {
        tg_limit_hit(request_body);
        good = tg_head_refuse(&refusal, 413, "request body too large");
    }
    st->in_told = !good || (head->framing == TG_FRAMING_NONE && !head->upgrade);
    if (good)
        st->server->events->request(&st->stream);
    else
        st->server->events->refused(&st->stream, &refusal);
}

static void read_trailers(struct tg_h2_stream *st, bool ended)
{
    struct tg_fields *trailers = tg_arena_alloc(st->stream.arena, sizeof(*trailers));
    struct tg_refusal refusal = {503, "out of memory for the trailers"};
    struct tg_h2_block *block = st->block;
    st->block = NULL;
    if (!ended) {
        malformed(st, "trailers that do not end the stream");
    } else if (trailers == NULL || !tg_h2_block_trailers(block, trailers, &refusal)) {
        if (refusal.status == 0)
            malformed(st, refusal.reason);
        else
            tg_h2_stream_break(st, TG_E_LIMIT, refusal.status, NGHTTP2_CANCEL);
    } else {
        st->trailers = trailers;
        tg_h2_stream_take_end(st);
    }
}

static void block_complete(struct tg_h2_server *s, const nghttp2_frame *frame)
{
    struct tg_h2_stream *st = s->heading;
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    s->heading = NULL;
    if (st == NULL)
        return;
    if (st->dead || st->block == NULL || st->stream.events == NULL)
        st->in_done = st->in_done || ended;
    else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        read_request(st, ended);
    else
        read_trailers(st, ended);
}

/* ---- Frames ------------------------------------------------------------------------------------
 */

/* Frames that carry nothing are counted before they are looked at. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct tg_h2_server *s = arg;
    bool useful = hd->type == NGHTTP2_HEADERS || (hd->type == NGHTTP2_DATA && hd->length > 0) ||
                  (hd->type == NGHTTP2_DATA && (hd->flags & NGHTTP2_FLAG_END_STREAM)) ||
                  (hd->type == NGHTTP2_SETTINGS && (hd->flags & NGHTTP2_FLAG_ACK));
    (void)session;
    if (useful)
        s->useful++;
    else if (hd->type != NGHTTP2_RST_STREAM)
        (void)tg_h2_server_count(s, TG_H2_FLOOD_FRAMES);
    return 0;
}

static void take_pong(struct tg_h2_server *s, const nghttp2_ping *ping)
{
    if (ping->opaque_data[0] == TG_H2_MEASURE)
        tg_h2_stream_widen(s);
    else if (s->state == TG_H2_SERVER_GOING)
        tg_h2_server_close_door(s);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct tg_h2_server *s = arg;
    struct tg_h2_stream *st;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        block_complete(s, frame);
        break;
    case NGHTTP2_DATA:
        st = stream_at(session, frame->hd.stream_id);
        if (st != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            tg_h2_stream_take_end(st);
        break;
    case NGHTTP2_RST_STREAM:
        (void)tg_h2_server_count(s, TG_H2_FLOOD_RESETS);
        break;
    case NGHTTP2_SETTINGS:
        s->greeted = true;
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            take_pong(s, &frame->ping);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *arg)
{
    struct tg_h2_server *s = arg;
    struct tg_h2_stream *st = stream_at(session, id);
    (void)flags;
    s->uploads = true;
    if (st != NULL)
        tg_h2_stream_take(st, tg_str((const char *)p, n));
    else
        (void)nghttp2_session_consume(session, id, n); /* nobody's: the connection must not stop */
    return 0;
}

/* A message that nghttp2 found malformed, or a stream too many: it resets the stream itself. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
                            void *arg)
{
    struct tg_h2_server *s = arg;
    struct tg_h2_stream *st = stream_at(session, frame->hd.stream_id);
    if (code == NGHTTP2_ERR_REFUSED_STREAM)
        tg_limit_hit(h2_streams);
    if (st != NULL && s->heading == st)
        s->heading = NULL;
    if (st != NULL && !st->dead)
        malformed(st, nghttp2_strerror(code));
    return 0;
}

/* The answer is whole: what the client still sends has no reader (RFC 9113, 8.1). */
static void stop_reading(struct tg_h2_stream *st)
{
    if (!st->in_done && !st->dead && st->stream.events == NULL)
        (void)nghttp2_submit_rst_stream(st->server->session, NGHTTP2_FLAG_NONE, st->id,
                                        NGHTTP2_NO_ERROR);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct tg_h2_server *s = arg;
    struct tg_h2_stream *st = stream_at(session, frame->hd.stream_id);
    bool ends = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (frame->hd.type == NGHTTP2_DATA)
        s->useful++;
    if (st == NULL)
        return 0;
    if (ends && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        stop_reading(st);
    /* nghttp2 says by this alone that a body broke its length or its window. */
    if (frame->hd.type == NGHTTP2_RST_STREAM && !st->dead &&
        (frame->rst_stream.error_code == NGHTTP2_PROTOCOL_ERROR ||
         frame->rst_stream.error_code == NGHTTP2_FLOW_CONTROL_ERROR))
        (void)note_malformed(st, "a body that breaks its length or its window");
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *arg)
{
    struct tg_h2_server *s = arg;
    struct tg_h2_stream *st = source->ptr;
    (void)session;
    if (st->dead)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    int result = tg_h2_out_data(&s->out, head, &frame->data, n, &st->out);
    if (result != 0)
        return result;
    st->moved_at = tg_h2_server_now(s);
    if (st->out.size == 0) {
        st->wait = TG_H2_WAIT_NONE;
        if (st->stream.events != NULL && tg_list_is_empty(&st->drained))
            tg_list_push_back(&s->drained, &st->drained);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct tg_h2_server *s = arg;
    struct tg_h2_stream *st = stream_at(session, id);
    if (st == NULL)
        return 0;
    s->proven = s->proven || (code == NGHTTP2_NO_ERROR && st->out_done && !st->dead);
    if (s->heading == st)
        s->heading = NULL;
    tg_h2_stream_end(st, TG_E_RESET);
    tg_h2_server_wake(s);
    if (tg_list_is_empty(&s->streams)) {
        s->since = s->state == TG_H2_SERVER_GOING ? s->since : tg_h2_server_now(s);
        s->events->idle(s);
    }
    return 0;
}

/* Frames of no known type are left out (RFC 9113, 5.5), but nghttp2 tells of those alone that
 * somebody wants to see. */
static int on_unknown(nghttp2_session *session, void **payload, const nghttp2_frame_hd *hd,
                      void *arg)
{
    (void)session;
    (void)payload;
    (void)hd;
    (void)arg;
    return NGHTTP2_ERR_CANCEL;
}

/* ---- The session -------------------------------------------------------------------------------
 */

static void set_callbacks(nghttp2_session_callbacks *c)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_unpack_extension_callback(c, on_unknown);
}

static void set_options(nghttp2_option *o, const struct tg_limits *limits)
{
    for (unsigned type = FIRST_UNKNOWN; type <= UINT8_MAX; type++) {
        if (type != NGHTTP2_PRIORITY_UPDATE)
            nghttp2_option_set_user_recv_extension_type(o, (uint8_t)type);
    }
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_builtin_recv_extension_type(o, NGHTTP2_PRIORITY_UPDATE);
    nghttp2_option_set_no_closed_streams(o, 1);
    /* Frames of a header block as large as it may be, and some more. */
    nghttp2_option_set_max_continuations(o, limits->request_headers / 8192 + 8);
    /* Our own counts say what is wrong; nghttp2's must not come before them. */
    nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);
    nghttp2_option_set_max_outbound_ack(o, limits->h2_control + ACKS_MORE);
}

/* What the client is told of us, in the first frames. */
static int greet(nghttp2_session *session, const struct tg_limits *limits)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)limits->h2_streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->request_headers},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    int result =
        nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, TG_COUNT_OF(settings));
    return result != 0 ? result
                       : nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                                               CONNECTION_WINDOW);
}

enum tg_err tg_h2_frames_open(struct tg_h2_server *s)
{
    const struct tg_limits *limits = s->events->limits(s);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int result = nghttp2_session_callbacks_new(&callbacks);
    if (result == 0)
        result = nghttp2_option_new(&option);
    if (result == 0) {
        set_callbacks(callbacks);
        set_options(option, limits);
        nghttp2_mem mem = tg_h2_region_mem(&s->region);
        result = nghttp2_session_server_new3(&s->session, callbacks, s, option, &mem);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (result == 0)
        result = greet(s->session, limits);
    return result == 0 ? TG_OK : tg_h2_session_err(result);
}
