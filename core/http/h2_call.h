/* h2_call.h: one exchange on a connection to an origin that speaks HTTP/2: the struct tg_call of a
 * stream (see call.h and h2_client.h).
 *
 *   NEW -- begin --> STAGED -- first body, end, flush --> SENT -- answer, request whole --> OVER
 *                                                           \------- reset, failure -------> OVER
 *
 * What is written waits in `out` until the windows of stream and connection let it go; pending()
 * speaks from OUT_HIGH on, so a body streams without a stop at each piece. What arrives while
 * nobody reads waits in `in`, at most a window of it.
 *
 * A tunnel (call.h, "WebSockets") waits for the origin's SETTINGS before its head goes. What goes
 * back and forth then is DATA like a body's; the end of either side is END_STREAM.
 *
 * How an exchange ends badly, and what that is told as:
 *   REFUSED_STREAM, or above the last stream of a GOAWAY   TG_E_RESET, TG_CALL_UNTOUCHED
 *   HTTP_1_1_REQUIRED                                      TG_E_RESET, TG_CALL_WANTS_HTTP1
 *   a tunnel is asked for, and SETTINGS say it takes none  the same over TLS, else TG_E_UNSUPPORTED
 *   another reset                                          TG_E_RESET, the code as reason
 *   an answer that is none                                 TG_E_PROTOCOL, and the stream is reset
 *   the connection ends                                    what ended it
 *
 * Ownership: embedded by the pool; freed not before the end of the loop's round. One thread.
 */
#ifndef TG_HTTP_H2_CALL_H
#define TG_HTTP_H2_CALL_H

#include "base/buf.h"
#include "http/call.h"
#include "http/h2_client.h"
#include "http/h2_fields.h"

struct tg_h2_call {
    uint32_t magic;
    struct tg_call call;
    struct tg_h2_client *client; /* borrowed; NULL once it is closed */

    /* private */
    struct tg_list link;    /* in client->calls */
    struct tg_list touched; /* in client->touched */
    int32_t id;             /* of the stream; 0: not sent yet */
    struct tg_arena *arena; /* of the exchange; borrowed */
    struct tg_call_limits limits;
    enum tg_method method;
    struct tg_fmt stage; /* the head as text, until it is sent */
    struct tg_str key;   /* where it asks for a tunnel: of the WebSocket; in the arena */
    enum tg_framing out_framing;
    struct tg_buf out;
    const struct tg_fields *out_trailers; /* borrowed until they are sent */
    struct tg_h2_block block;             /* the header block that comes in */
    struct tg_buf in;
    struct tg_fields trailers;
    uint64_t since;    /* us: when the request was whole, or bytes came last */
    uint64_t sent_at;  /* us: when the connection last took of `out` */
    uint64_t read_run; /* bytes handed over since the last pause */
    uint64_t left;     /* bytes that are to come, where the call counts them */
    uint32_t window;   /* of the stream */
    struct tg_timer timer;
    enum tg_err failure; /* of ours, told soon */
    const char *reason;  /* why the answer is none, static */
    bool begun;
    bool submitted;
    bool waits;     /* it asks for a tunnel, and the origin's SETTINGS have not come */
    bool sent;      /* its head has left */
    bool parked;    /* nghttp2 was told that there is no data now */
    bool head_done; /* the final head is there */
    bool in_ended;  /* the origin has ended its side */
    bool in_done;   /* and all of it was handed over */
    bool out_done;  /* the request is whole */
    bool want;      /* reading is on */
    bool held_up;   /* pending() said so: on_drained is owed */
    bool drained;   /* on_drained is due */
    bool paused;    /* on_pause is due */
    bool tunnel;
    bool counts;  /* a tunnel was refused by a body with a length: nghttp2 does not count it */
    bool over;    /* the stream is, on both sides */
    bool handing; /* what was kept is being handed over */
};

/* A call on `client`, which has room. On failure nothing is open. */
enum tg_err tg_h2_call_open(struct tg_h2_call *call, struct tg_h2_client *client) TG_MUST_USE;

/* Ends the exchange before its arena goes; a stream that is not over is reset. No event follows.
 * Allowed on a closed one. */
void tg_h2_call_close(struct tg_h2_call *call);

static inline struct tg_h2_call *tg_h2_call_of(struct tg_call *call)
{
    return TG_CONTAINER_OF(call, struct tg_h2_call, call);
}

/* ---- For h2_client.c: what the stream tells; each may close the call ---- */

/* The origin's SETTINGS are there, for the first time: a head that waited for them is sent. */
void tg_h2_call_greeted(struct tg_h2_call *call);

/* A header block begins, has a field (false: it is refused), and is complete. */
void tg_h2_call_begin_block(struct tg_h2_call *call);
bool tg_h2_call_add_field(struct tg_h2_call *call, struct tg_str name, struct tg_str value);
void tg_h2_call_end_block(struct tg_h2_call *call, bool ended);

void tg_h2_call_data(struct tg_h2_call *call, struct tg_str data);
void tg_h2_call_ended(struct tg_h2_call *call);

/* A DATA frame with `n` bytes of what there is to send goes into `out`; what nghttp2 is told. */
int tg_h2_call_send_data(struct tg_h2_call *call, struct tg_h2_out *out, const uint8_t *head,
                         const nghttp2_data *frame, size_t n);

/* The answer is none for a reason that nghttp2 found; its reset follows. */
void tg_h2_call_invalid(struct tg_h2_call *call, const char *reason);

/* The stream is over, with an error code of RFC 9113, 7. */
void tg_h2_call_over(struct tg_h2_call *call, uint32_t code);

/* The exchange has failed: it is closed but for the memory, and on_failed tells. */
void tg_h2_call_fail(struct tg_h2_call *call, enum tg_err err, const char *reason);

/* The connection is gone: true where all of the answer had come, which can be read yet. */
bool tg_h2_call_outlives(struct tg_h2_call *call);

/* Tells what is due after a read or write: on_drained, on_pause. */
void tg_h2_call_tell(struct tg_h2_call *call);

#endif
