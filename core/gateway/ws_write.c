/* ws_write.c: frames on their way out: see ws.h.
 *
 * A frame that goes on as it came is sent with its neighbours, where they lie side by side in what
 * was read: a run. One of our own is put together in a piece on the stack, masked where it goes to
 * the origin; large payloads for the client are not copied. */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/ws.h"

#define WRITE_PIECE 4096 /* bytes of a frame that are put together at a time */

static void send_now(struct tg_ws *ws, const struct tg_ws_side *to, struct tg_str data)
{
    if (to->shut || data.n == 0)
        return;
    if (to == &ws->client)
        tg_tunnel_to_client(ws->r, data);
    else if (tg_ws_has_origin(ws))
        tg_tunnel_to_origin(ws->r, data);
    else if (!tg_ws_keep(ws, data))
        tg_request_break(ws->r, "no_memory");
}

void tg_ws_send_run(struct tg_ws *ws)
{
    struct tg_str run = ws->run;
    ws->run = tg_str(NULL, 0);
    if (run.n > 0)
        send_now(ws, ws->run_to, run);
}

/* A frame that goes on as it is: together with those before it, where they lie side by side. */
void tg_ws_send_raw(struct tg_ws *ws, struct tg_ws_side *to, struct tg_str raw)
{
    if (ws->run.n > 0 && ws->run_to == to && ws->run.p + ws->run.n == raw.p) {
        ws->run.n += raw.n;
        return;
    }
    tg_ws_send_run(ws);
    ws->run = raw;
    ws->run_to = to;
}

static struct tg_ws_key next_key(struct tg_ws *ws)
{
    if (ws->key_count == 0) {
        tg_rand_secret(ws->keys, sizeof(ws->keys));
        ws->key_count = TG_COUNT_OF(ws->keys);
    }
    return ws->keys[--ws->key_count];
}

/* A frame on its way out, put together piece by piece. */
struct frame {
    struct tg_ws *ws;
    const struct tg_ws_side *to;
    bool masked;
    struct tg_ws_key key;
    uint64_t at; /* bytes of the payload so far */
    size_t n;
    char bytes[WRITE_PIECE];
};

static void flush_frame(struct frame *f)
{
    send_now(f->ws, f->to, tg_str(f->bytes, f->n));
    f->n = 0;
}

static void begin_frame(struct frame *f, struct tg_ws *ws, const struct tg_ws_side *to,
                        enum tg_ws_opcode opcode, uint64_t size)
{
    tg_ws_send_run(ws);
    f->ws = ws;
    f->to = to;
    f->masked = to == &ws->origin;
    f->at = 0;
    if (f->masked)
        f->key = next_key(ws);
    f->n = tg_ws_write_head(f->bytes, opcode, true, size, f->masked ? &f->key : NULL);
}

static void add_payload(struct frame *f, struct tg_str data)
{
    if (!f->masked && data.n >= sizeof(f->bytes)) { /* not worth a copy */
        flush_frame(f);
        send_now(f->ws, f->to, data);
        return;
    }
    while (data.n > 0) {
        size_t n = TG_MIN(data.n, sizeof(f->bytes) - f->n);
        if (f->masked)
            tg_ws_mask(f->bytes + f->n, data.p, n, f->key, f->at);
        else
            memcpy(f->bytes + f->n, data.p, n);
        f->n += n;
        f->at += n;
        data = tg_str_sub(data, n, data.n);
        if (f->n == sizeof(f->bytes))
            flush_frame(f);
    }
}

void tg_ws_send_message(struct tg_ws *ws, const struct tg_ws_side *to, enum tg_ws_opcode opcode,
                        const struct tg_buf *payload)
{
    struct frame f;
    begin_frame(&f, ws, to, opcode, payload->size);
    for (size_t at = 0; at < payload->size;) {
        struct tg_str piece = tg_buf_piece(payload, at);
        add_payload(&f, piece);
        at += piece.n;
    }
    flush_frame(&f);
}

void tg_ws_send_control(struct tg_ws *ws, const struct tg_ws_side *to, enum tg_ws_opcode opcode,
                        struct tg_str payload)
{
    struct frame f;
    begin_frame(&f, ws, to, opcode, payload.n);
    add_payload(&f, payload);
    flush_frame(&f);
}
