/* ws.h: WebSockets that are inspected: those of routes with `websocket`, and all on whose chain is
 * a plugin with a message phase. Others are tunnels of bytes (tunnel.c).
 *
 *      client                            struct tg_ws                             origin
 *   bytes -> reader -> rate, size -> [message plugins] -> frames, or the bytes as they are -> bytes
 *      <- the same the other way
 *
 *   WAITING -> OPEN <------> REOPENING        a handshake is under way; messages go; the origin is
 *                |  \           |             gone and another connection is sought
 *                +----> CLOSING <             one side at least has been told to close
 *
 * Whole messages. A message is passed on when all of it is there and found good, so nobody ever
 * gets part of one that is refused, and frames of the gateway's own (pings, closes) have a place to
 * go. What it costs: a message of several frames, or one that comes in pieces, is held, up to
 * max_message. One that lies whole in what was read goes on in place, several at a time.
 *
 * Order and back-pressure. Each direction keeps its order. While a plugin looks at a message, or
 * the other side does not take what it has, the rest of what was read is held (at most one read
 * buffer) and no more is read. One plugin of a request runs at a time, so both directions wait for
 * it.
 *
 * The handshake is the gateway's own towards the origin: its key is made here, extensions are taken
 * out (compression among them: what is compressed cannot be inspected), and the answer must fit. So
 * what carries the two sides (HTTP/1.1, or a stream of HTTP/2) plays no part in what happens here.
 *
 * Closing. What one side says is passed on as it said it. Where the gateway closes: 1002, 1007,
 * 1008 or 1009 to who broke a rule; the other is told 1001 of a client and 1011 of an origin. Who
 * was told has limits.websocket.close_timeout to answer and to go. The first code counts for the
 * log.
 *
 * Reopening. Messages that were on their way to an origin that broke are lost, as they are without
 * a gateway; what the client sends meanwhile is kept within reconnect.buffer. Half a message of the
 * origin's is dropped.
 *
 * Threads: the worker's. Memory: struct tg_ws, 1.1 KiB, in the request's arena.
 */
#ifndef TG_GATEWAY_WS_H
#define TG_GATEWAY_WS_H

#include "config/websocket.h"
#include "gateway/plugins.h"
#include "http/ws.h"

enum tg_ws_state {
    TG_WS_STATE_WAITING,
    TG_WS_STATE_OPEN,
    TG_WS_STATE_REOPENING,
    TG_WS_STATE_CLOSING,
};

/* One of the two that talk. */
struct tg_ws_side {
    const struct tg_websocket_side_conf *conf; /* bounds on what it sends */
    const char *name;                          /* "client", "origin" */
    struct tg_ws_reader reader;
    struct tg_rate_state rate;
    struct tg_buf held; /* what it sent and nobody has read yet */
    uint16_t said;      /* code of the close frame that it sent; 0: none */
    uint16_t told;      /* and of the one that it got */
    bool deaf;          /* what it sends from here on is dropped */
    bool anew;          /* it begins with a frame: its connection is another one */
    bool ended;         /* no more bytes come from it */
    bool shut;          /* none go to it */
    bool reading;
    uint64_t messages, bytes;
};

struct tg_ws {
    struct tg_request *r;
    const struct tg_websocket_conf *conf;
    enum tg_ws_state state;
    struct tg_ws_side client, origin;

    /* the handshake */
    struct tg_str key;              /* the client's */
    struct tg_str protocol;         /* agreed on; p == NULL: none */
    char accept[TG_WS_ACCEPT_TEXT]; /* that the origin must answer */

    /* the message in hand */
    struct tg_ws_message message;
    struct tg_ws_side *from;
    bool asking;    /* plugins look at it */
    bool resting;   /* they have had enough of this round of the loop */
    unsigned asked; /* messages that they looked at since the last rest */
    struct tg_task rest;
    struct tg_buf out; /* what they made of it */
    struct tg_str run; /* frames that go on as they came; valid until the bytes are given back */
    struct tg_ws_side *run_to;
    struct tg_ws_key keys[16]; /* fresh masks, the last `key_count` of them */
    unsigned key_count;

    /* clocks, us */
    uint64_t message_at; /* the last message or ping of either side */
    uint64_t client_at;  /* the last byte of the client */
    uint64_t pinged_at;  /* 0: the client has nothing to answer */
    uint64_t close_at;   /* CLOSING: when patience ends */
    uint64_t ping;       /* payload of pings */

    /* reopening */
    struct tg_buf backlog; /* frames for the origin */
    struct tg_arena arena; /* of the exchange that opened the connection in use, unless the first */
    bool has_arena;
    unsigned attempts;
    uint64_t reopens; /* that went well */

    uint16_t code;  /* the first close; 0: none yet */
    const char *by; /* whose that was: "client", "origin", "gateway", "plugin" */
};

/* ---- ws_handshake.c ---- */

/* The request is about to go to its origin: a WebSocket that is to be inspected is prepared. False:
 * its handshake was no good, and it has been answered. */
bool tg_ws_begin(struct tg_request *r);

/* Whether the handshake of a request that asks for a protocol can go to its origin as an extended
 * CONNECT of HTTP/2 (RFC 8441): it is one of WebSocket alone, without a body. */
bool tg_ws_may_go_by_connect(const struct tg_request *r);

/* A fresh key for the origin, for a handshake after the first; asks for the protocol agreed on. */
enum tg_err tg_ws_renew_handshake(struct tg_ws *ws) TG_MUST_USE;

/* What is wrong with the origin's answer to the handshake, static; NULL: nothing. */
const char *tg_ws_check_answer(struct tg_request *r, const struct tg_response_head *head);

/* Makes r->resp, which is the origin's 101, the answer to the client's own key. */
enum tg_err tg_ws_dress_answer(struct tg_request *r) TG_MUST_USE;

/* ---- ws.c: what tunnel.c, request.c and client.c tell ---- */

void tg_ws_open(struct tg_request *r);
void tg_ws_from_client(struct tg_request *r, struct tg_str data);
void tg_ws_from_origin(struct tg_request *r, struct tg_str data);
void tg_ws_client_ended(struct tg_request *r);
void tg_ws_origin_ended(struct tg_request *r); /* or its connection is gone */
void tg_ws_drained(struct tg_request *r);
void tg_ws_clock(struct tg_request *r);

/* The plugins that waited with a message came to `step`. */
void tg_ws_asked(struct tg_request *r, enum tg_step step);

/* Goes on with what is held, and sees to reading, ends and clocks: the last thing that an event
 * does. */
void tg_ws_go_on(struct tg_ws *ws);

static inline struct tg_ws_side *tg_ws_other(struct tg_ws *ws, const struct tg_ws_side *side)
{
    return side == &ws->client ? &ws->origin : &ws->client;
}

/* Whether there is a connection to write to. */
static inline bool tg_ws_has_origin(const struct tg_ws *ws)
{
    return ws->state != TG_WS_STATE_REOPENING && !ws->origin.shut;
}

/* ---- ws_write.c ---- */

/* Frames to `to`: one that goes on as it came, which stays where it is until tg_ws_send_run() or
 * another frame; a message; a control frame. Nothing goes to a side that is shut; what is for an
 * origin that is away is kept. */
void tg_ws_send_raw(struct tg_ws *ws, struct tg_ws_side *to, struct tg_str raw);
void tg_ws_send_run(struct tg_ws *ws);
void tg_ws_send_message(struct tg_ws *ws, const struct tg_ws_side *to, enum tg_ws_opcode opcode,
                        const struct tg_buf *payload);
void tg_ws_send_control(struct tg_ws *ws, const struct tg_ws_side *to, enum tg_ws_opcode opcode,
                        struct tg_str payload);

/* ---- ws_close.c ---- */

/* The client is gone without a word: the origin hears of it, if it can at once. */
void tg_ws_client_lost(struct tg_request *r);

/* The gateway ends: both sides are told, if they can at once. For requests of any kind. */
void tg_ws_say_goodbye(struct tg_request *r);

/* The request is over: counts, and fields for its log record. For requests of any kind. */
void tg_ws_end(struct tg_request *r);

/* Tells one side to close and why; what it was told first counts. */
void tg_ws_tell(struct tg_ws *ws, struct tg_ws_side *side, uint16_t code, struct tg_str reason);

/* From here on patience is bounded; whoever is sought to reopen it is sought no more. */
void tg_ws_begin_closing(struct tg_ws *ws);

/* Notes how it ended, once. */
void tg_ws_note_close(struct tg_ws *ws, uint16_t code, const char *by);

/* `side` broke a rule: it is told which, the other that it is gone. / Nobody is to blame. */
void tg_ws_blame(struct tg_ws *ws, struct tg_ws_side *side, uint16_t code, const char *reason);
void tg_ws_close_both(struct tg_ws *ws, uint16_t code, struct tg_str reason, const char *by);

/* `side` has sent the close frame in hand. */
void tg_ws_take_close(struct tg_ws *ws, struct tg_ws_side *side);

/* Ends our direction to a side that has been told, and has said or lost its own word. */
void tg_ws_shut_if_done(struct tg_ws *ws, struct tg_ws_side *side);

/* ---- ws_reopen.c ---- */

/* Whether another connection is sought. */
bool tg_ws_is_reopening(const struct tg_request *r);

/* The origin is gone: seeks another connection where the route wants that; false: it does not. */
bool tg_ws_reopen(struct tg_ws *ws);

/* An attempt failed; its connection has been let go of. / It went well: the connection is a tunnel.
 */
void tg_ws_reopen_failed(struct tg_request *r);
void tg_ws_reopened(struct tg_request *r);

/* Where the heads of an exchange with the origin go. */
struct tg_arena *tg_ws_exchange_arena(struct tg_request *r);

/* Keeps bytes for the origin; false: no memory. */
bool tg_ws_keep(struct tg_ws *ws, struct tg_str data);

#endif
