/* h2_client.c: see h2_client.h.
 *
 * Re-entrancy: nghttp2 calls back while it reads or writes, and what is told from there may close
 * calls or the connection. `busy` keeps the session until nghttp2 has returned; operations of calls
 * only submit, and the bytes leave from the loop. */
#include "base/banned.h"
#include "http/h2_client.h"

#include "base/assert.h"
#include "base/limits.h"
#include "http/h2_call.h"

#define CLIENT_MAGIC  0xc11e4702u
#define READ_SIZE     ((size_t)65536)
#define STREAMS_FIRST 100u /* until the origin's SETTINGS say more */
#define LAST_STREAM   0x7ffffff0
#define EMPTIES_MAX   1000u /* frames that bring nothing, in a second */
#define FLOOD         "origin: a flood of frames that bring nothing"
#define PING_ASKS     1u

static uint64_t now(const struct tg_h2_client *c)
{
    return tg_loop_now(&c->conn.worker->loop);
}

static void set_state(struct tg_h2_client *c, enum tg_h2_client_state to)
{
    static const unsigned allowed[] = {
        [TG_H2_CLIENT_OPEN] = 1u << TG_H2_CLIENT_LEAVING | 1u << TG_H2_CLIENT_CLOSED,
        [TG_H2_CLIENT_LEAVING] = 1u << TG_H2_CLIENT_CLOSED,
        [TG_H2_CLIENT_CLOSED] = 0,
    };
    tg_assert(allowed[c->state] & (1u << to));
    c->state = to;
}

/* ---- Deadlines ---------------------------------------------------------------------------------
 */

static uint64_t deadline_of(const struct tg_h2_client *c)
{
    if (c->call_count == 0)
        return c->idle_until;
    if (c->conf.ping == 0)
        return 0;
    if (c->ping_at > 0)
        return c->ping_at + c->conf.ping;
    return c->asked_at > 0 ? c->asked_at + c->conf.ping : 0;
}

void tg_h2_client_settle(struct tg_h2_client *client)
{
    if (client->state != TG_H2_CLIENT_CLOSED)
        tg_conn_set_deadline(&client->conn, deadline_of(client));
}

/* ---- Ends --------------------------------------------------------------------------------------
 */

static void drop_session(struct tg_h2_client *c)
{
    tg_h2_region_release(&c->region);
    c->session = NULL;
}

/* Whatever is left of nghttp2's round: the session of a closed connection goes. */
static void end_busy(struct tg_h2_client *c)
{
    c->busy = false;
    if (c->state == TG_H2_CLIENT_CLOSED)
        drop_session(c);
}

static void shut(struct tg_h2_client *c)
{
    set_state(c, TG_H2_CLIENT_CLOSED);
    tg_task_cancel(&c->flush);
    tg_conn_close(&c->conn);
    if (!c->busy)
        drop_session(c);
}

/* The last word to an origin that is left in order: GOAWAY, as far as the socket takes it. */
static void say_goodbye(struct tg_h2_client *c)
{
    if (c->busy || tg_conn_pending(&c->conn) > 0 ||
        nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR) != 0)
        return;
    c->busy = true;
    (void)!tg_h2_session_send(c->session, &c->conn, &c->out); /* it is over, whatever comes of it */
    c->busy = false;
}

void tg_h2_client_close(struct tg_h2_client *client)
{
    if (client->state == TG_H2_CLIENT_CLOSED)
        return;
    tg_assert(client->call_count == 0);
    say_goodbye(client);
    shut(client);
}

/* A call whose answer has not come whole; NULL: none. */
static struct tg_h2_call *unanswered(const struct tg_h2_client *c)
{
    TG_LIST_FOREACH(&c->calls, it)
    {
        struct tg_h2_call *call = TG_LIST_ENTRY(it, struct tg_h2_call, link);
        if (!tg_h2_call_outlives(call))
            return call;
    }
    return NULL;
}

/* Closes, and tells the owner and every call whose answer is not there. */
static void fail(struct tg_h2_client *c, enum tg_err err, const char *reason)
{
    if (c->state == TG_H2_CLIENT_CLOSED)
        return;
    shut(c);
    for (struct tg_h2_call *call; (call = unanswered(c)) != NULL;)
        tg_h2_call_fail(call, err, reason);
    c->events->on_closed(c);
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

/* Sends as long as the socket takes it. */
static enum tg_err send_frames(struct tg_h2_client *c)
{
    if (c->asked_at == 0 && nghttp2_session_want_write(c->session))
        c->asked_at = now(c);
    c->busy = true;
    enum tg_err err = tg_h2_session_send(c->session, &c->conn, &c->out);
    end_busy(c);
    return err;
}

static void tell_touched(struct tg_h2_client *c)
{
    while (!tg_list_is_empty(&c->touched)) {
        struct tg_h2_call *call = TG_LIST_ENTRY(c->touched.next, struct tg_h2_call, touched);
        tg_list_remove(&call->touched);
        tg_h2_call_tell(call);
    }
}

/* The origin allows fewer streams than it was believed to: those that nghttp2 holds back for that
 * have not left, and may go elsewhere. */
static void let_go_of_held(struct tg_h2_client *c)
{
    if (tg_conn_pending(&c->conn) > 0 || c->call_count <= tg_h2_client_allowed(c))
        return;
    for (struct tg_list *it = c->calls.next; it != &c->calls;) {
        struct tg_h2_call *call = TG_LIST_ENTRY(it, struct tg_h2_call, link);
        it = it->next;
        if (call->id == 0 || call->sent)
            continue;
        call->call.refusal = TG_CALL_UNTOUCHED;
        tg_h2_call_fail(call, TG_E_RESET, "origin: it takes no more streams");
        if (c->state == TG_H2_CLIENT_CLOSED)
            return;
        it = c->calls.next; /* what it was told may have changed the list */
    }
}

/* Sends what is due, tells whose bytes went, and sees whether the connection is over. */
static void send_out(struct tg_h2_client *c)
{
    if (c->state == TG_H2_CLIENT_CLOSED)
        return;
    enum tg_err err = send_frames(c);
    tell_touched(c);
    if (c->state == TG_H2_CLIENT_CLOSED)
        return;
    if (err != TG_OK) {
        fail(c, err, NULL);
        return;
    }
    let_go_of_held(c);
    if (c->state == TG_H2_CLIENT_CLOSED)
        return;
    if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session) &&
        tg_conn_pending(&c->conn) == 0) {
        fail(c, c->reason != NULL ? TG_E_PROTOCOL : TG_E_CLOSED, c->reason);
        return;
    }
    tg_h2_client_settle(c);
}

static void on_flush(struct tg_task *task)
{
    struct tg_h2_client *c = TG_CONTAINER_OF(task, struct tg_h2_client, flush);
    tg_magic_check(c, CLIENT_MAGIC);
    send_out(c);
}

void tg_h2_client_flush_soon(struct tg_h2_client *client)
{
    if (client->state != TG_H2_CLIENT_CLOSED)
        tg_loop_defer(&client->conn.worker->loop, &client->flush);
}

/* ---- Windows -----------------------------------------------------------------------------------
 */

static void ping(struct tg_h2_client *c, uint8_t kind)
{
    uint8_t opaque[8] = {kind};
    if (nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, opaque) == 0)
        tg_h2_client_flush_soon(c);
}

/* What came within one round trip is what the path holds: the windows are to be twice that. */
static void take_measure(struct tg_h2_client *c)
{
    enum tg_h2_pace_step step = tg_h2_pace_measured(&c->pace);
    if (step == TG_H2_PACE_KEPT)
        return;
    if (step == TG_H2_PACE_FULL)
        tg_limit_hit(upstream_window);
    int32_t whole = (int32_t)TG_MIN(2 * (uint64_t)c->pace.window, INT32_MAX);
    if (nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, whole) == 0)
        tg_h2_client_flush_soon(c);
}

void tg_h2_client_count(struct tg_h2_client *client, size_t n, bool large)
{
    client->empties = 0;
    if (nghttp2_session_consume_connection(client->session, n) != 0)
        client->reason = "origin: more data than there was room for";
    if (tg_h2_pace_count(&client->pace, n, large, now(client)))
        ping(client, TG_H2_MEASURE);
}

/* ---- What nghttp2 tells ------------------------------------------------------------------------
 */

struct tg_h2_call *tg_h2_client_find(const struct tg_h2_client *client, int32_t id)
{
    struct tg_h2_call *call =
        id > 0 ? nghttp2_session_get_stream_user_data(client->session, id) : NULL;
    if (call == NULL || TG_LIKELY(client->orphans == 0))
        return call;
    TG_LIST_FOREACH(&client->calls, it)
    {
        struct tg_h2_call *open = TG_LIST_ENTRY(it, struct tg_h2_call, link);
        if (open == call && open->id == id)
            return call;
    }
    return NULL;
}

bool tg_h2_client_count_empty(struct tg_h2_client *client)
{
    uint64_t at = now(client);
    if (at - client->empties_since >= TG_USEC_PER_SEC) {
        client->empties_since = at;
        client->empties = 0;
    }
    if (++client->empties <= EMPTIES_MAX)
        return true;
    client->reason = FLOOD;
    return false;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call = tg_h2_client_find(arg, frame->hd.stream_id);
    (void)session;
    c->empties = 0;
    if (call != NULL)
        tg_h2_call_begin_block(call);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    struct tg_h2_call *call = tg_h2_client_find(arg, frame->hd.stream_id);
    (void)session;
    (void)flags;
    (void)arg;
    if (call != NULL && !tg_h2_call_add_field(call, tg_str((const char *)name, name_n),
                                              tg_str((const char *)value, value_n)))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
}

static void on_ping_ack(struct tg_h2_client *c, const nghttp2_ping *frame)
{
    if (frame->opaque_data[0] == TG_H2_MEASURE)
        take_measure(c);
}

static void on_goaway(struct tg_h2_client *c)
{
    if (c->state == TG_H2_CLIENT_OPEN)
        set_state(c, TG_H2_CLIENT_LEAVING);
    c->room_changed = true;
}

/* What the origin allows is known; calls that waited to know go, or fail, after this read. */
static void on_settings(struct tg_h2_client *c)
{
    c->room_changed = true;
    if (c->greeted)
        return;
    c->greeted = true;
    TG_LIST_FOREACH(&c->calls, it)
    tg_h2_call_greeted(TG_LIST_ENTRY(it, struct tg_h2_call, link));
}

/* A frame of the connection, or one that brings no part of an answer. */
static int take_control_frame(struct tg_h2_client *c, const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_GOAWAY:
        on_goaway(c);
        return 0;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            on_settings(c);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            on_ping_ack(c, &frame->ping);
        break;
    default:
        break;
    }
    return tg_h2_client_count_empty(c) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call = tg_h2_client_find(arg, frame->hd.stream_id);
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        if (call != NULL)
            tg_h2_call_end_block(call, ended);
        return 0;
    }
    if (frame->hd.type != NGHTTP2_DATA)
        return take_control_frame(c, frame);
    if (frame->hd.length == 0 && !ended && !tg_h2_client_count_empty(c))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (call != NULL && ended)
        tg_h2_call_ended(call);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call = tg_h2_client_find(arg, id);
    (void)session;
    (void)flags;
    if (call != NULL)
        tg_h2_call_data(call, tg_str((const char *)data, n));
    tg_h2_client_count(c, n, call != NULL && call->read_run >= TG_H2_WINDOW / 2);
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call = tg_h2_client_find(arg, frame->hd.stream_id);
    (void)session;
    (void)source;
    return call != NULL ? tg_h2_call_send_data(call, &c->out, head, &frame->data, n)
                        : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* its reset is on the way */
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call = tg_h2_client_find(c, id);
    if (call != NULL)
        tg_h2_call_over(call, code);
    else if (c->orphans > 0 && nghttp2_session_get_stream_user_data(session, id) != NULL)
        c->orphans--; /* nothing names it any more */
    return 0;
}

/* In words, what was wrong with a frame. */
static const char *fault_of(int error)
{
    switch (error) {
    case NGHTTP2_ERR_HTTP_HEADER:
        return "origin: a header field that is malformed or not allowed in HTTP/2";
    case NGHTTP2_ERR_HTTP_MESSAGING:
        return "origin: a message that is malformed in HTTP/2";
    case NGHTTP2_ERR_FLOW_CONTROL:
        return "origin: more data than there was room for";
    case NGHTTP2_ERR_HEADER_COMP:
        return "origin: headers that cannot be decompressed";
    case NGHTTP2_ERR_STREAM_CLOSED:
        return "origin: a frame on a stream that is closed";
    case NGHTTP2_ERR_FRAME_SIZE_ERROR:
        return "origin: a frame of a wrong size";
    default:
        return "origin: a frame that breaks HTTP/2";
    }
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call = tg_h2_client_find(arg, frame->hd.stream_id);
    (void)session;
    if (call != NULL)
        tg_h2_call_invalid(call, fault_of(error));
    else
        c->reason = fault_of(error);
    return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *arg)
{
    struct tg_h2_call *call = tg_h2_client_find(arg, frame->hd.stream_id);
    (void)session;
    (void)name, (void)name_n, (void)value, (void)value_n, (void)flags, (void)arg;
    if (call != NULL)
        tg_h2_call_invalid(call, fault_of(NGHTTP2_ERR_HTTP_HEADER));
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* A request has left. Or a GOAWAY: its code is why nghttp2 ends the connection, where it says so by
 * no other way. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct tg_h2_client *c = arg;
    struct tg_h2_call *call =
        frame->hd.type == NGHTTP2_HEADERS ? tg_h2_client_find(arg, frame->hd.stream_id) : NULL;
    (void)session;
    if (call != NULL)
        call->sent = true;
    if (frame->hd.type != NGHTTP2_GOAWAY || frame->goaway.error_code == NGHTTP2_NO_ERROR ||
        c->reason != NULL)
        return 0;
    switch (frame->goaway.error_code) {
    case NGHTTP2_FRAME_SIZE_ERROR:
        c->reason = fault_of(NGHTTP2_ERR_FRAME_SIZE_ERROR);
        break;
    case NGHTTP2_FLOW_CONTROL_ERROR:
        c->reason = fault_of(NGHTTP2_ERR_FLOW_CONTROL);
        break;
    case NGHTTP2_COMPRESSION_ERROR:
        c->reason = fault_of(NGHTTP2_ERR_HEADER_COMP);
        break;
    default:
        c->reason = fault_of(NGHTTP2_ERR_PROTO);
        break;
    }
    return 0;
}

static int on_error(nghttp2_session *session, int error, const char *text, size_t n, void *arg)
{
    struct tg_h2_client *c = arg;
    (void)session, (void)text, (void)n;
    if (error == NGHTTP2_ERR_SETTINGS_EXPECTED && c->reason == NULL)
        c->reason = "origin: it does not speak HTTP/2";
    return 0;
}

/* A request that did not leave: the origin has said GOAWAY before. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
    struct tg_h2_client *c = arg;
    (void)session;
    (void)error;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    TG_LIST_FOREACH(&c->calls, it)
    {
        struct tg_h2_call *call = TG_LIST_ENTRY(it, struct tg_h2_call, link);
        if (call->id == frame->hd.stream_id) {
            call->call.refusal = TG_CALL_UNTOUCHED;
            tg_h2_call_fail(call, TG_E_RESET, "origin: it takes no more streams");
            break;
        }
    }
    return 0;
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

/* After a read: calls hear of what it brought, the owner of what changed, and replies go. */
static void end_read(struct tg_h2_client *c)
{
    tell_touched(c);
    if (c->room_changed && c->state != TG_H2_CLIENT_CLOSED) {
        c->room_changed = false;
        c->events->on_room(c);
    }
    send_out(c);
}

static void take(struct tg_h2_client *c, const char *p, size_t n)
{
    c->asked_at = c->ping_at = 0;
    c->busy = true;
    ssize_t used = nghttp2_session_mem_recv(c->session, (const uint8_t *)p, n);
    end_busy(c);
    if (c->state == TG_H2_CLIENT_CLOSED)
        return;
    if (used == NGHTTP2_ERR_NOMEM)
        fail(c, TG_E_NOMEM, NULL);
    else if (used == NGHTTP2_ERR_FLOODED)
        fail(c, TG_E_PROTOCOL, FLOOD);
    else if (used < 0)
        fail(c, TG_E_PROTOCOL, c->reason != NULL ? c->reason : fault_of(NGHTTP2_ERR_PROTO));
    else
        end_read(c);
}

static void on_readable(struct tg_conn *conn)
{
    struct tg_h2_client *c = TG_CONTAINER_OF(conn, struct tg_h2_client, conn);
    struct tg_slab *slab = conn->worker->slab;
    size_t n;
    tg_magic_check(c, CLIENT_MAGIC);
    char *room = tg_slab_lease(slab, READ_SIZE);
    if (room == NULL) {
        fail(c, TG_E_NOMEM, NULL);
        return;
    }
    enum tg_err err = tg_conn_read(conn, room, READ_SIZE, &n);
    if (err == TG_OK)
        take(c, room, n);
    else if (err != TG_E_AGAIN)
        fail(c, err, c->reason);
    tg_slab_return(slab, room, READ_SIZE);
}

void tg_h2_client_look(struct tg_h2_client *client)
{
    on_readable(&client->conn);
}

static void on_drained(struct tg_conn *conn)
{
    struct tg_h2_client *c = TG_CONTAINER_OF(conn, struct tg_h2_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    send_out(c);
}

static void on_lost(struct tg_conn *conn, enum tg_err err)
{
    struct tg_h2_client *c = TG_CONTAINER_OF(conn, struct tg_h2_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    fail(c, err, NULL);
}

/* Nobody has used it for long; or a word is owed: it is asked for once. */
static void on_timeout(struct tg_conn *conn)
{
    struct tg_h2_client *c = TG_CONTAINER_OF(conn, struct tg_h2_client, conn);
    tg_magic_check(c, CLIENT_MAGIC);
    uint64_t deadline = deadline_of(c);
    if (deadline == 0 || deadline > now(c)) {
        tg_h2_client_settle(c);
    } else if (c->call_count == 0) {
        say_goodbye(c);
        fail(c, TG_E_TIMEOUT, NULL);
    } else if (c->ping_at == 0) {
        tg_limit_hit(upstream_ping);
        c->ping_at = now(c);
        ping(c, PING_ASKS);
        tg_h2_client_settle(c);
    } else {
        fail(c, TG_E_CLOSED, "origin: no answer to PING, the connection is dead");
    }
}

static const struct tg_conn_handler conn_handler = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_gone = on_lost,
    .on_failed = on_lost,
    .on_timeout = on_timeout,
};

/* ---- Life --------------------------------------------------------------------------------------
 */

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
}

static bool make_session(struct tg_h2_client *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0) {
        set_callbacks(callbacks);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_reserved_remote_streams(option, 0);
        nghttp2_option_set_peer_max_concurrent_streams(option, c->conf.first > 0 ? c->conf.first
                                                                                 : STREAMS_FIRST);
        nghttp2_mem mem = tg_h2_region_mem(&c->region);
        if (nghttp2_session_client_new3(&c->session, callbacks, c, option, &mem) != 0)
            c->session = NULL;
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return c->session != NULL;
}

static bool greet(struct tg_h2_client *c)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, TG_H2_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->conf.head},
    };
    return make_session(c) &&
           nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                   TG_COUNT_OF(settings)) == 0 &&
           nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                 2 * TG_H2_WINDOW) == 0;
}

enum tg_err tg_h2_client_open(struct tg_h2_client *client, struct tg_conn *from,
                              const struct tg_h2_client_conf *conf,
                              const struct tg_h2_client_events *events, void *owner)
{
    *client = (struct tg_h2_client){
        .magic = CLIENT_MAGIC, .events = events, .owner = owner, .conf = *conf};
    tg_h2_pace_init(&client->pace, conf->max_window);
    tg_list_init(&client->calls);
    tg_list_init(&client->touched);
    tg_task_init(&client->flush, on_flush);
    tg_h2_region_init(&client->region);
    enum tg_err err = tg_conn_adopt(&client->conn, from, &conn_handler);
    if (err == TG_OK && !greet(client)) {
        tg_h2_region_release(&client->region);
        tg_conn_close(&client->conn);
        err = TG_E_NOMEM;
    }
    if (err != TG_OK) {
        client->magic = 0;
        return err;
    }
    tg_conn_set_reading(&client->conn, true);
    tg_h2_client_flush_soon(client);
    return TG_OK;
}

uint32_t tg_h2_client_allowed(const struct tg_h2_client *client)
{
    return nghttp2_session_get_remote_settings(client->session,
                                               NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

uint32_t tg_h2_client_room(const struct tg_h2_client *client)
{
    if (client->state != TG_H2_CLIENT_OPEN ||
        nghttp2_session_get_next_stream_id(client->session) >= LAST_STREAM)
        return 0;
    uint32_t most = TG_MIN(tg_h2_client_allowed(client), client->conf.streams);
    return most > client->call_count ? most - client->call_count : 0;
}

bool tg_h2_client_takes_tunnels(const struct tg_h2_client *client)
{
    return client->state == TG_H2_CLIENT_OPEN &&
           nghttp2_session_get_remote_settings(client->session,
                                               NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

void tg_h2_client_rest(struct tg_h2_client *client, uint64_t idle_timeout)
{
    tg_assert(client->call_count == 0);
    client->idle_until = now(client) + idle_timeout;
    tg_h2_client_settle(client);
}

void tg_h2_client_leave(struct tg_h2_client *client)
{
    if (client->state == TG_H2_CLIENT_OPEN)
        set_state(client, TG_H2_CLIENT_LEAVING);
}
