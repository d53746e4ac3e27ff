/* client.c: a connection to the admin listener: one exchange at a time, in `arena`.
 *
 *     request ---> view found? ---> written at once
 *                     |   `-------> needs the workers: waits in `viewed`, census.c asks them
 *                     | order? ---> passed on: waits in `ordered` until it is settled
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
    uint32_t ordered;                   /* the order whose end it waits for; 0: none */
    bool local;                         /* it came through a unix socket */
    bool loopback;                      /* or through an address of this machine alone */
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
    const char *allow; /* which methods there are; NULL: all is well */
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
    if (err == TG_OK && answer->allow != NULL)
        err = tg_fields_add(fields, TG_STR("Allow"), tg_str_c(answer->allow));
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
    struct answer answer = {.status = status, .type = PROBLEM};
    tg_fmt_init(&f, room, sizeof(room));
    tg_admin_write_problem(&f, status, detail);
    send_answer(c, &answer, &f);
}

static void send_not_found(struct tg_admin_client *c)
{
    char room[256];
    struct tg_fmt f;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    tg_fmt_lit(&f, "the admin listener has ");
    tg_admin_view_write_paths(&f);
    tg_fmt_lit(&f, ", and takes the orders /reload and /rollback");
    room[f.n] = '\0';
    send_problem(c, 404, room);
}

static void send_not_allowed(struct tg_admin_client *c, const char *allow, const char *detail)
{
    char room[512];
    struct tg_fmt f;
    struct answer answer = {.status = 405, .type = PROBLEM, .allow = allow};
    tg_fmt_init(&f, room, sizeof(room));
    tg_admin_write_problem(&f, 405, detail);
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

/* ---- Orders ------------------------------------------------------------------------------------
 */

/* Reads the order in path and query; false where there is none of that name. */
static bool read_order(const struct tg_request_head *head, struct tg_order *out, bool *good)
{
    const struct tg_str revision = TG_STR("revision=");
    struct tg_str query = head->query;
    bool rollback = tg_str_eq(head->path, TG_STR("/rollback"));
    *out = (struct tg_order){.kind = rollback ? TG_ORDER_ROLLBACK : TG_ORDER_RELOAD};
    *good = query.n == 0;
    if (!rollback && !tg_str_eq(head->path, TG_STR("/reload")))
        return false;
    if (!rollback && tg_str_eq(query, TG_STR("dry-run"))) {
        out->kind = TG_ORDER_DRY_RUN;
        *good = true;
    } else if (rollback && tg_str_starts(query, revision)) {
        uint64_t number = 0;
        *good = tg_str_to_u64(tg_str_sub(query, revision.n, query.n), &number) && number > 0 &&
                number <= UINT32_MAX;
        out->revision = (uint32_t)number;
    }
    return true;
}

/* Why this client may give no orders; NULL: it may. */
static const char *why_not(const struct tg_admin_client *c)
{
    if (!c->local && !c->admin->snapshot->settings.admin_write)
        return "orders are taken through a unix socket, or with settings.admin.write = true";
    if (tg_fields_find(&c->head.fields, TG_STR("Origin")) != NULL)
        return "orders are not taken from pages in a browser";
    return NULL;
}

static void take_order(struct tg_admin_client *c, struct tg_order *order, bool good)
{
    struct tg_admin *admin = c->admin;
    const char *refusal = why_not(c);
    if (c->head.method != TG_METHOD_POST) {
        send_not_allowed(c, "POST", "an order is given with POST");
    } else if (refusal != NULL) {
        send_problem(c, 403, refusal);
    } else if (!good) {
        send_problem(c, 400,
                     "an order is /reload, /reload?dry-run, /rollback or "
                     "/rollback?revision=N");
    } else if (admin->ordered != 0) {
        send_problem(c, 409, "another order is under way");
    } else {
        order->number = admin->ordered = c->ordered = ++admin->last_number;
        if (admin->options.order(admin->options.arg, order))
            return;
        admin->ordered = c->ordered = 0;
        send_problem(c, 409, "the gateway starts, ends or reloads: try again");
    }
}

static void send_settlement(struct tg_admin_client *c, const struct tg_settlement *settled)
{
    struct tg_fmt f;
    struct answer answer = {.type = "application/json"};
    tg_fmt_init_arena(&f, &c->arena, FIRST_GUESS);
    answer.status = tg_admin_write_settlement(c->admin, &f, settled);
    if (!f.failed)
        send_answer(c, &answer, &f);
    else
        send_problem(c, 503, "there is no memory for the answer; /status tells what became of it");
}

void tg_admin_clients_settle(struct tg_admin *admin, const struct tg_settlement *settled)
{
    TG_LIST_FOREACH(&admin->clients, it)
    {
        struct tg_admin_client *c = TG_LIST_ENTRY(it, struct tg_admin_client, link);
        if (c->ordered != settled->order.number)
            continue;
        c->ordered = 0;
        send_settlement(c, settled);
    }
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
    c->ordered = 0;
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

/* A browser that was told that a name of somebody's is this machine (admin.h). */
static bool is_misdirected(const struct tg_admin_client *c)
{
    return c->loopback && c->head.host.n > 0 && !tg_admin_host_is_plain(c->head.host);
}

static void request(struct tg_h1_server *server)
{
    struct tg_admin_client *c = client_of(server);
    const struct tg_admin_view *view = tg_admin_view_find(c->head.path);
    struct tg_order order;
    bool good;
    if (is_misdirected(c))
        send_problem(c, 421, "on a loopback address Host has to be an IP address or localhost");
    else if (read_order(&c->head, &order, &good))
        take_order(c, &order, good);
    else if (view == NULL)
        send_not_found(c);
    else if (c->head.method != TG_METHOD_GET && c->head.method != TG_METHOD_HEAD)
        send_not_allowed(c, "GET, HEAD", "what the gateway tells is read with GET");
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
    tg_limit_note(admin_connections, --c->admin->open);
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
    c->ordered = 0;
    c->local = tg_admin_address_is_local(&admin->door.address);
    c->loopback = tg_admin_address_is_loopback(&admin->door.address);
    tg_arena_init(&c->arena, worker->slab, ADMIN_MEMORY_MAX);
    tg_task_init(&c->free_later, on_free);
    enum tg_err err = tg_h1_server_open(&c->server, worker, fd, &server_events);
    if (err != TG_OK) {
        tg_slab_return(worker->slab, c, sizeof(*c));
        return err;
    }
    tg_list_push_back(&admin->clients, &c->link);
    tg_limit_note(admin_connections, ++admin->open);
    return TG_OK;
}

void tg_admin_clients_close(struct tg_admin *admin)
{
    TG_LIST_FOREACH(&admin->clients, it)
    tg_h1_server_close(&TG_LIST_ENTRY(it, struct tg_admin_client, link)->server);
}
