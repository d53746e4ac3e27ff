/* h2_server.h: a client connection that speaks HTTP/2 (RFC 9113), on nghttp2.
 *
 * Each stream is a tg_stream for the gateway, as the one exchange of h1_server.h is. nghttp2 knows
 * frames, HPACK, windows and priorities (RFC 9218); here stand the streams, what may be open at
 * once, how long things may take, and who is told to go.
 *
 *   OPEN --- drain, or enough requests ---> GOING --- a round trip later ---> LAST
 *     |                                                                        | no stream is left
 *     +--- idle too long, a flood, a broken frame, the client left ------------+--> LINGER ->
 * CLOSED
 *
 *   GOING    the client was told that no more streams are wanted; those on their way are served
 *   LAST     it was told which stream is the last one that is served
 *   LINGER   our side has ended, the session is gone; what still comes is dropped for a while
 *
 * Back-pressure. What the gateway does not read waits in the stream, at most a window of it, which
 * opens again only as the gateway takes bytes. It is 64 KiB, and as wide as the path asks for
 * (h2_pace.h), up to h2.window, while the gateway takes all that comes and connections hold less
 * than half of what memory they may; the connection's is 64 KiB wider. What the client does not
 * take waits in the stream too, and pending() asks the gateway to stop its origin. nghttp2 asks for
 * bytes of a body when windows and priorities let them go, so nothing is queued in between but what
 * the socket did not take of one write.
 *
 * Floods. Frames that carry nothing, streams that are reset, header blocks without end: each kind
 * is counted over FLOOD_WINDOW against a bound of limits.def; above it the connection ends with
 * ENHANCE_YOUR_CALM, a metric and a line in the log.
 *
 * Timeouts and least rates are those of h1_server.h, for each stream on its own; they are looked at
 * every now and then, by one timer, so that they come late by a part of what they bound.
 *
 * Ownership: the gateway embeds the struct, frees it after closed() and not before the end of the
 * loop's round. One thread.
 */
#ifndef TG_HTTP_H2_SERVER_H
#define TG_HTTP_H2_SERVER_H

#include "base/limits.h"
#include "http/h2_pace.h"
#include "http/h2_session.h"
#include "http/head.h"
#include "http/stream.h"

struct tg_h2_server;

/* Where a request begins: begin() fills it. */
struct tg_h2_begin {
    struct tg_request_head *head; /* is parsed to here */
    struct tg_arena *arena;       /* becomes stream->arena */
    bool merge_slashes;           /* how the path is normalised */
};

struct tg_h2_server_events {
    /* A stream opens. Fills `to`, sets stream->events and owner; false: no memory, the stream is
     * refused. */
    bool (*begin)(struct tg_h2_server *server, struct tg_stream *stream, struct tg_h2_begin *to);
    /* The head is good: begin()'s request starts. */
    void (*request)(struct tg_stream *stream);
    /* It is not: answer with refusal->status. */
    void (*refused)(struct tg_stream *stream, const struct tg_refusal *refusal);
    /* The connection is closed; no further call. */
    void (*closed)(struct tg_h2_server *server);
    /* No stream is open any more. */
    void (*idle)(struct tg_h2_server *server);
    /* The limits in force now; valid for as long as the request that begins with them. */
    const struct tg_limits *(*limits)(struct tg_h2_server *server);
};

enum tg_h2_server_state {
    TG_H2_SERVER_OPEN,
    TG_H2_SERVER_GOING,
    TG_H2_SERVER_LAST,
    TG_H2_SERVER_LINGER,
    TG_H2_SERVER_CLOSED,
};

/* What a client is counted for. */
enum tg_h2_flood { TG_H2_FLOOD_RESETS, TG_H2_FLOOD_FRAMES, TG_H2_FLOODS };

struct tg_h2_server {
    uint32_t magic;
    enum tg_h2_server_state state;
    struct tg_conn conn;
    const struct tg_h2_server_events *events;

    /* private */
    nghttp2_session *session;
    struct tg_h2_region region; /* its memory */
    struct tg_list streams;
    uint32_t open;                /* how many there are */
    struct tg_list drained;       /* streams whose gateway waits to hear it */
    struct tg_h2_stream *heading; /* whose header block is coming; NULL: none */
    struct tg_task flush;         /* what is to be sent goes at the end of the round */
    struct tg_h2_out out;
    uint64_t since;      /* us: when the state, or idleness, began */
    uint64_t heading_at; /* us: when the header block began */
    uint64_t looked_at;  /* us: the last look at the streams' progress */
    uint64_t requests;
    struct tg_h2_pace pace;
    uint64_t flood_at; /* us: since when it is counted */
    uint32_t floods[TG_H2_FLOODS];
    uint32_t useful;     /* frames since then that carried something */
    uint32_t held_bytes; /* of bodies that wait in streams though their connection window is back */
    uint32_t lingered;
    enum tg_err failure;
    bool uploads; /* the last read brought bytes of bodies */
    bool calmed;  /* it was told to go for a flood */
    bool busy;    /* nghttp2 is at work: the session must stay */
    bool greeted; /* the client's SETTINGS came */
    bool proven;  /* an answer went out whole */
};

/* Takes over what `from` has: its socket, its transport (net/conn.h). `first`: what was read
 * already, may be empty. Owner's struct is zeroed here. */
enum tg_err tg_h2_server_adopt(struct tg_h2_server *server, struct tg_conn *from,
                               struct tg_str first,
                               const struct tg_h2_server_events *events) TG_MUST_USE;

/* The process drains: the client is told, and open streams end. */
void tg_h2_server_drain(struct tg_h2_server *server);

/* Closes at once, whatever goes on; running exchanges see on_aborted. */
void tg_h2_server_close(struct tg_h2_server *server);

/* Memory is short: takes back what windows have grown by; closes the connection when it was idle
 * for `patience` us (TG_STREAM_CREDIT times that after a whole answer), or resets the streams that
 * kept the gateway waiting. */
enum tg_h2_relief { TG_H2_RELIEF_NONE, TG_H2_RELIEF_IDLE, TG_H2_RELIEF_SLOW };
enum tg_h2_relief tg_h2_server_relieve(struct tg_h2_server *server, uint64_t now,
                                       uint64_t patience);

#endif
