/* outbox.c: see outbox.h. */
#include "base/banned.h"
#include "net/outbox.h"

#include "base/assert.h"
#include "base/mem.h"

#define TOGETHER 16
#define ROOM     ((size_t)16384)

/* A piece that waits; once it could not be sent, why. */
struct held {
    struct tg_conn *conn; /* borrowed; NULL: it was taken back */
    const char *p;
    size_t n;
    enum tg_err err;
};

struct tg_outbox {
    struct tg_worker *worker; /* borrowed */
    struct tg_task round_end;
    bool telling; /* owners hear of failures: what they write goes at once, the list stays */
    uint8_t count;
    size_t used;
    struct held held[TOGETHER];
    char room[ROOM];
};

static struct held take(struct tg_outbox *o, struct tg_conn *conn)
{
    struct held *at = &o->held[conn->held - 1];
    struct held h = *at;
    tg_assert(h.conn == conn);
    at->conn = NULL;
    conn->held = 0;
    return h;
}

static enum tg_err send_piece(const struct held *h)
{
    struct iovec iov = {(void *)(uintptr_t)h->p, h->n};
    return h->err != TG_OK ? h->err : tg_conn_send_raw(h->conn, &iov, 1);
}

/* Only what failed is there afterwards. Nobody is told of it: anybody may have called this. */
static void send_all(struct tg_outbox *o)
{
    uint8_t kept = 0;
    for (uint8_t i = 0; i < o->count; i++) {
        if (o->held[i].conn == NULL)
            continue;
        struct held h = take(o, o->held[i].conn);
        h.err = send_piece(&h);
        if (h.err == TG_OK)
            continue;
        o->held[kept++] = h;
        h.conn->held = kept;
    }
    o->count = kept;
    o->used = 0;
}

static void on_round_end(struct tg_task *task)
{
    struct tg_outbox *o = TG_CONTAINER_OF(task, struct tg_outbox, round_end);
    send_all(o);
    o->telling = true;
    for (uint8_t i = 0; i < o->count; i++) {
        struct tg_conn *conn = o->held[i].conn; /* NULL: closed by who heard before */
        if (conn != NULL)
            conn->handler->on_failed(conn, take(o, conn).err);
    }
    o->telling = false;
    o->count = 0;
}

bool tg_outbox_put(struct tg_conn *conn, const char *p, size_t n)
{
    struct tg_outbox *o = conn->worker->outbox;
    if (o == NULL || o->telling || n > ROOM / 4)
        return false;
    if (o->count == TOGETHER || n > ROOM - o->used)
        send_all(o);
    if (o->count == TOGETHER)
        return false;
    memcpy(o->room + o->used, p, n);
    o->held[o->count++] = (struct held){.conn = conn, .p = o->room + o->used, .n = n};
    o->used += n;
    conn->held = o->count;
    tg_loop_defer_first(&o->worker->loop, &o->round_end);
    return true;
}

void tg_outbox_send(struct tg_worker *worker)
{
    if (worker->outbox != NULL && !worker->outbox->telling) /* then nothing waits to be sent */
        send_all(worker->outbox);
}

enum tg_err tg_outbox_take(struct tg_conn *conn)
{
    struct held h = take(conn->worker->outbox, conn);
    return send_piece(&h);
}

enum tg_err tg_outbox_open(struct tg_worker *worker)
{
    struct tg_outbox *o = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*o));
    if (o == NULL)
        return TG_E_NOMEM;
    o->worker = worker;
    tg_task_init(&o->round_end, on_round_end);
    worker->outbox = o;
    return TG_OK;
}

void tg_outbox_close(struct tg_worker *worker)
{
    if (worker->outbox == NULL)
        return;
    tg_task_cancel(&worker->outbox->round_end);
    tg_mem_free(TG_MEM_CONNECTION, worker->outbox);
    worker->outbox = NULL;
}
