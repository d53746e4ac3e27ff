/* echo.c: see echo.h. One exchange at a time lives in `arena`. */
#include "base/banned.h"
#include "upstream/echo.h"

#include "base/json.h"
#include "http/h1_server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEP_MAX  ((size_t)65536)
#define ARENA_MAX ((size_t)2 << 20) /* a head, a body of KEEP_MAX, and the record of both */

#define RECORD_MAX  (TG_SLAB_MAX - 64) /* one allocation of an arena */
#define ESCAPED_MAX ((size_t)6)        /* bytes of JSON for one of a text, as in \u0000 */
#define FRAME_MAX   ((size_t)256)      /* names, quotes and numbers of a record */

struct echo {
    struct tg_h1_server server;
    struct tg_arena arena;
    struct tg_request_head head;
    struct tg_buf body;
    struct tg_limits limits;
    struct tg_list link;
    struct tg_task free_later;
};

static struct echo *echo_of(struct tg_h1_server *server)
{
    return TG_CONTAINER_OF(server, struct echo, server);
}

static void write_headers(struct tg_json *j, const struct tg_fields *fields)
{
    tg_json_key(j, TG_STR("headers"));
    tg_json_begin_array(j);
    for (uint32_t i = 0; i < fields->n; i++) {
        tg_json_begin_array(j);
        tg_json_str(j, fields->v[i].name);
        tg_json_str(j, fields->v[i].value);
        tg_json_end_array(j);
    }
    tg_json_end_array(j);
}

/* Room for the record at its longest, so that it is never copied to grow: what growing leaves in
 * the arena is twice the record. */
static size_t record_room(const struct echo *e)
{
    const struct tg_fields *fields = &e->head.fields;
    size_t text = e->head.method_name.n + e->head.target.n + e->body.size;
    for (uint32_t i = 0; i < fields->n; i++)
        text += fields->v[i].name.n + fields->v[i].value.n + 2;
    return TG_MIN(FRAME_MAX + text * ESCAPED_MAX, RECORD_MAX);
}

static void write_record(struct echo *e, struct tg_fmt *f)
{
    struct tg_json j;
    char *kept = tg_arena_alloc(&e->arena, e->body.size + 1);
    struct tg_str body = {kept, kept != NULL ? e->body.size : 0};
    if (kept != NULL)
        tg_buf_copy_out(&e->body, kept);
    tg_json_init(&j, f);
    tg_json_begin_object(&j);
    tg_json_field_str(&j, "method", e->head.method_name);
    tg_json_field_str(&j, "target", e->head.target);
    tg_json_field_str(&j, "version", e->head.minor == 0 ? TG_STR("HTTP/1.0") : TG_STR("HTTP/1.1"));
    write_headers(&j, &e->head.fields);
    tg_json_field_str(&j, "body", body);
    tg_json_field_u64(&j, "body_bytes", e->server.stream.bytes_in);
    tg_json_key(&j, TG_STR("body_truncated"));
    tg_json_bool(&j, e->server.stream.bytes_in > e->body.size);
    tg_json_end_object(&j);
    tg_fmt_char(f, '\n');
}

static void end_exchange(struct echo *e)
{
    tg_buf_release(&e->body);
    tg_arena_release(&e->arena);
}

/* Answers; the exchange is over when it returns. */
static void answer(struct echo *e, unsigned status)
{
    struct tg_stream *stream = &e->server.stream;
    struct tg_response_head head = {.status = (uint16_t)status, .framing = TG_FRAMING_LENGTH};
    struct tg_fmt f;
    tg_fields_init(&head.fields, &e->arena);
    tg_fmt_init_arena(&f, &e->arena, record_room(e));
    write_record(e, &f);
    struct tg_str text = tg_fmt_str(&f);
    if (text.p == NULL) { /* headers of some hundred KiB, where the limits let them through */
        head.status = 431;
        text = TG_STR("{\"error\":\"the headers are too large for the echo to show\"}\n");
    }
    if (tg_fields_add(&head.fields, TG_STR("Content-Type"), TG_STR("application/json")) != TG_OK) {
        stream->ops->abort(stream);
        return;
    }
    head.length = text.n;
    head.has_length = true;
    if (e->head.method == TG_METHOD_HEAD)
        head.framing = TG_FRAMING_NONE;
    stream->ops->send_head(stream, &head);
    stream->ops->send_body(stream, text);
    stream->ops->send_end(stream, NULL);
    end_exchange(e);
}

static void on_body(struct tg_stream *stream, struct tg_str data)
{
    struct echo *e = stream->owner;
    size_t room = KEEP_MAX - TG_MIN(e->body.size, KEEP_MAX);
    size_t n = TG_MIN(room, data.n);
    if (n > 0 && tg_buf_append(&e->body, data.p, n) != TG_OK)
        return; /* counted, not kept: the answer says that it is cut */
}

static void on_body_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    (void)trailers;
    answer(stream->owner, 200);
}

static void on_drained(struct tg_stream *stream)
{
    (void)stream; /* one piece is all that is ever written */
}

static void on_aborted(struct tg_stream *stream, enum tg_err err, unsigned status)
{
    (void)err;
    if (status != 0)
        answer(stream->owner, status);
    else
        end_exchange(stream->owner);
}

static const struct tg_stream_events stream_events = {
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_drained = on_drained,
    .on_aborted = on_aborted,
};

static struct tg_request_head *begin(struct tg_h1_server *server, struct tg_arena **arena)
{
    struct echo *e = echo_of(server);
    *arena = &e->arena;
    server->stream.events = &stream_events;
    server->stream.owner = e;
    return &e->head;
}

static void request(struct tg_h1_server *server)
{
    static const struct tg_fields none;
    struct echo *e = echo_of(server);
    struct tg_stream *stream = &server->stream;
    if (e->head.framing == TG_FRAMING_NONE) {
        answer(e, 200);
        return;
    }
    if (e->head.expect_continue)
        stream->ops->send_info(stream, 100, &none);
    stream->ops->read_body(stream, true);
}

static void refused(struct tg_h1_server *server, const struct tg_refusal *refusal)
{
    answer(echo_of(server), refusal->status);
}

static void on_free(struct tg_task *task)
{
    struct echo *e = TG_CONTAINER_OF(task, struct echo, free_later);
    struct tg_slab *slab = e->arena.slab;
    end_exchange(e);
    tg_list_remove(&e->link);
    tg_slab_return(slab, e, sizeof(*e));
}

static void closed(struct tg_h1_server *server)
{
    tg_loop_defer(&server->conn.worker->loop, &echo_of(server)->free_later);
}

static const struct tg_limits *limits(struct tg_h1_server *server)
{
    return &echo_of(server)->limits;
}

static const struct tg_h1_server_events server_events = {
    .begin = begin,
    .request = request,
    .refused = refused,
    .closed = closed,
    .limits = limits,
};

/* The far end takes whatever the gateway lets through: its limits are the widest. */
static void widen(struct tg_limits *l)
{
    for (int id = 0; id < TG_LIMIT_COUNT; id++)
        *tg_limit_field(l, (enum tg_limit_id)id) = tg_limit_info((enum tg_limit_id)id)->max;
    l->connection_buffer = 32768;
    l->read_rate = l->write_rate = 0; /* none */
}

void tg_echo_close_all(struct tg_list *echoes)
{
    TG_LIST_FOREACH(echoes, it)
    {
        struct echo *e = TG_LIST_ENTRY(it, struct echo, link);
        tg_list_remove(&e->link); /* it is freed later, when the list may be gone */
        tg_h1_server_close(&e->server);
    }
}

enum tg_err tg_echo_open(struct tg_worker *worker, struct tg_list *echoes,
                         struct tg_h1_client *client, const struct tg_call_events *events,
                         void *owner)
{
    int fds[2];
    struct echo *e = tg_slab_lease(worker->slab, sizeof(*e));
    if (e == NULL)
        return TG_E_NOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        tg_slab_return(worker->slab, e, sizeof(*e));
        return tg_err_from_errno(errno);
    }
    tg_arena_init(&e->arena, worker->slab, ARENA_MAX);
    tg_buf_init(&e->body, worker->slab);
    tg_task_init(&e->free_later, on_free);
    widen(&e->limits);
    enum tg_err err = tg_h1_client_open_fd(client, worker, fds[0], events, owner);
    if (err == TG_OK) {
        err = tg_h1_server_open(&e->server, worker, fds[1], &server_events);
        if (err != TG_OK)
            tg_h1_client_close(client);
    } else {
        close(fds[1]);
    }
    if (err != TG_OK) {
        tg_slab_return(worker->slab, e, sizeof(*e));
        return err;
    }
    tg_list_push_back(echoes, &e->link);
    return TG_OK;
}
