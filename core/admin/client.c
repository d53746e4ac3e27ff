/* client.c: a connection to the admin listener: one exchange at a time, in `arena`.
 *
 *     request ---> view found? ---> written at once
 *                     |   `-------> needs the workers: waits in `viewed`, census.c asks them
 *                     `-----------> 404, 405
 *
 * An answer is whole before its head leaves, so its length is known and a failure to write it is
 * still an honest 503. The request's body, if it has one, is read for nobody. */
#include "base/banned.h"
#include "admin/internal.h"

#include "event/worker.h"
#include "http/h1_server.h"

#include <unistd.h>

#define ADMIN_MEMORY_MAX ((size_t)4 << 20) /* of one exchange; a builder doubles as it grows */
#define ANSWER_MAX       ((size_t)16 << 20)
#define FIRST_GUESS      ((size_t)4096)
#define PROBLEM          "application/problem+json"

struct tg_admin_client {
    struct tg_h1_server server;
    struct tg_admin *admin;
    struct tg_arena arena;
    struct tg_request_head head;
    const struct tg_admin_view *viewed; /* while it waits for the workers; else NULL */
    struct tg_list link;
    struct tg_task free_later;
};

static struct tg_admin_client *client_of(struct tg_h1_server *server)
{
    return TG_CONTAINER_OF(server, struct tg_admin_client, server);
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

/* Which head a body travels under. */
struct answer {
    unsigned status;
    const char *type;
    bool allow; /* tell which methods there are */
};

static enum tg_err add_fields(struct tg_admin_client *c, struct tg_fields *fields,
                              const struct answer *answer)
{
    char date[TG_CLOCK_HTTP_DATE_LEN];
    tg_clock_http_date(c->admin->options.worker->loop.clock.real, date);
    struct tg_str kept = tg_arena_copy(&c->arena, tg_str(date, sizeof(date)));
    enum tg_err err = kept.p == NULL ? TG_E_NOMEM : tg_fields_add(fields, TG_STR("Date"), kept);
    if (err == TG_OK)
        err = tg_fields_add(fields, TG_STR("Server"), TG_STR(TG_ADMIN_SERVER));
    if (err == TG_OK)
        err = tg_fields_add(fields, TG_STR("Content-Type"), tg_str_c(answer->type));
    if (err == TG_OK)
        err = tg_fields_add(fields, TG_STR("Cache-Control"), TG_STR("no-store"));
    if (err == TG_OK && answer->allow)
        err = tg_fields_add(fields, TG_STR("Allow"), TG_STR("GET, HEAD"));
    return err;
}

/* Sends what was written; the exchange is over when it returns. */
static void send_answer(struct tg_admin_client *c, const struct answer *answer, struct tg_fmt *f)
{
    struct tg_stream *stream = &c->server.stream;
    bool bodiless = c->head.method == TG_METHOD_HEAD;
    struct tg_response_head head = {.status = (uint16_t)answer->status,
                                    .framing = bodiless ? TG_FRAMING_NONE : TG_FRAMING_LENGTH,
                                    .length = f->n,
                                    .has_length = true};
    tg_fields_init(&head.fields, &c->arena);
    if (f->failed || add_fields(c, &head.fields, answer) != TG_OK) {
        stream->ops->abort(stream);
    } else {
        stream->ops->send_head(stream, &head);
        if (!bodiless)
            stream->ops->send_body(stream, tg_fmt_str(f));
        stream->ops->send_end(stream, NULL);
    }
    tg_arena_release(&c->arena);
}

static void send_problem(struct tg_admin_client *c, unsigned status, const char *detail)
{
    char room[512];
    struct tg_fmt f;
    struct answer answer = {.status = status, .type = PROBLEM, .allow = status == 405};
    tg_fmt_init(&f, room, sizeof(room));
    tg_admin_write_problem(&f, status, detail);
    send_answer(c, &answer, &f);
}

/* Writes again, into room that the arena does not give; false when ANSWER_MAX is not enough. */
static bool send_large(struct tg_admin_client *c, const struct tg_admin_view *view)
{
    bool sent = false;
    for (size_t size = 2 * TG_SLAB_MAX; size <= ANSWER_MAX && !sent; size *= 2) {
        struct tg_fmt f;
        char *room = tg_mem_alloc(TG_MEM_OBSERVE, size);
        if (room == NULL)
            return false;
        tg_fmt_init(&f, room, size);
        struct answer answer = {.type = view->type};
        answer.status = view->write(c->admin, &f);
        sent = !f.failed;
        if (sent)
            send_answer(c, &answer, &f);
        tg_mem_free(TG_MEM_OBSERVE, room);
    }
    return sent;
}

static void send_view(struct tg_admin_client *c, const struct tg_admin_view *view)
{
    struct tg_fmt f;
    struct answer answer = {.type = view->type};
    tg_fmt_init_arena(&f, &c->arena, FIRST_GUESS);
    answer.status = view->write(c->admin, &f);
    if (!f.failed)
        send_answer(c, &answer, &f);
    else if (!send_large(c, view))
        send_problem(c, 503, "there is no memory for the answer, or it is larger than 16 MiB");
}

/* ---- Asking the workers ------------------------------------------------------------------------
 */

static void on_visit(void *of, struct tg_gate *gate)
{
    struct tg_admin *admin = of;
    tg_census_visit(admin->census, gate);
}

static void on_told(void *of)
{
    tg_admin_clients_answer(of);
}

void tg_admin_clients_answer(struct tg_admin *admin)
{
    TG_LIST_FOREACH(&admin->clients, it)
    {
        struct tg_admin_client *c = TG_LIST_ENTRY(it, struct tg_admin_client, link);
        const struct tg_admin_view *view = c->viewed;
        c->viewed = NULL;
        if (view != NULL)
            send_view(c, view);
    }
    tg_census_free(&admin->census);
}

/* Waits for the census that is under way, or begins one. */
static void ask_workers(struct tg_admin_client *c, const struct tg_admin_view *view)
{
    struct tg_admin *admin = c->admin;
    c->viewed = view;
    if (admin->census != NULL)
        return;
    admin->census = tg_census_new(admin->snapshot, admin->options.workers);
    if (admin->census == NULL) {
        c->viewed = NULL;
        send_problem(c, 503, "there is no memory to ask the workers");
        return;
    }
    admin->options.ask(admin->options.arg, on_visit, on_told, admin);
}

/* ---- Events of the exchange --------------------------------------------------------------------
 */

static void on_body(struct tg_stream *stream, struct tg_str data)
{
    (void)stream; /* nobody asked for it */
    (void)data;
}

static void on_body_end(struct tg_stream *stream, const struct tg_fields *trailers)
{
    (void)stream;
    (void)trailers;
}

static void on_drained(struct tg_stream *stream)
{
    (void)stream; /* an answer is written in one piece */
}

static void on_aborted(struct tg_stream *stream, enum tg_err err, unsigned status)
{
    struct tg_admin_client *c = stream->owner;
    (void)err;
    c->viewed = NULL;
    if (status != 0)
        send_problem(c, status, "the request is not complete");
    else
        tg_arena_release(&c->arena);
}

static const struct tg_stream_events stream_events = {
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_drained = on_drained,
    .on_aborted = on_aborted,
};

/* ---- Events of the connection ------------------------------------------------------------------
 */

static struct tg_request_head *begin(struct tg_h1_server *server, struct tg_arena **arena)
{
    struct tg_admin_client *c = client_of(server);
    *arena = &c->arena;
    server->stream.events = &stream_events;
    server->stream.owner = c;
    return &c->head;
}

static void request(struct tg_h1_server *server)
{
    struct tg_admin_client *c = client_of(server);
    const struct tg_admin_view *view = tg_admin_view_find(c->head.path);
    if (view == NULL)
        send_problem(c, 404,
                     "the admin listener has /metrics, /healthz, /readyz, /status, /config, "
                     "/limits and /plugins");
    else if (c->head.method != TG_METHOD_GET && c->head.method != TG_METHOD_HEAD)
        send_problem(c, 405, "the admin listener is read with GET");
    else if (view->needs_census)
        ask_workers(c, view);
    else
        send_view(c, view);
}

static void refused(struct tg_h1_server *server, const struct tg_refusal *refusal)
{
    send_problem(client_of(server), refusal->status, refusal->reason);
}

static void on_free(struct tg_task *task)
{
    struct tg_admin_client *c = TG_CONTAINER_OF(task, struct tg_admin_client, free_later);
    c->admin->open--;
    tg_list_remove(&c->link);
    tg_arena_release(&c->arena);
    tg_slab_return(c->admin->options.worker->slab, c, sizeof(*c));
}

static void closed(struct tg_h1_server *server)
{
    struct tg_admin_client *c = client_of(server);
    tg_loop_defer(&c->admin->options.worker->loop, &c->free_later);
}

static const struct tg_limits *limits(struct tg_h1_server *server)
{
    return &client_of(server)->admin->limits;
}

static const struct tg_h1_server_events server_events = {
    .begin = begin,
    .request = request,
    .refused = refused,
    .closed = closed,
    .limits = limits,
};

enum tg_err tg_admin_client_open(struct tg_admin *admin, int fd)
{
    struct tg_worker *worker = admin->options.worker;
    struct tg_admin_client *c = tg_slab_lease(worker->slab, sizeof(*c));
    if (c == NULL) {
        close(fd);
        return TG_E_NOMEM;
    }
    c->admin = admin;
    c->viewed = NULL;
    tg_arena_init(&c->arena, worker->slab, ADMIN_MEMORY_MAX);
    tg_task_init(&c->free_later, on_free);
    enum tg_err err = tg_h1_server_open(&c->server, worker, fd, &server_events);
    if (err != TG_OK) {
        tg_slab_return(worker->slab, c, sizeof(*c));
        return err;
    }
    tg_list_push_back(&admin->clients, &c->link);
    admin->open++;
    return TG_OK;
}

void tg_admin_clients_close(struct tg_admin *admin)
{
    TG_LIST_FOREACH(&admin->clients, it)
    tg_h1_server_close(&TG_LIST_ENTRY(it, struct tg_admin_client, link)->server);
}
