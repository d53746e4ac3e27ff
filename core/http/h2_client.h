/* h2_client.h: a connection to an origin that speaks HTTP/2 (RFC 9113), through nghttp2.
 *
 *              leave, GOAWAY, out of numbers        close, failure
 *      OPEN -------------------------------> LEAVING -------------> CLOSED
 *        \---------------------- close, failure ----------------------^
 *
 * It carries as many exchanges at a time (struct tg_h2_call, h2_call.h) as the origin allows and
 * the owner wants: tg_h2_client_room(). What calls write leaves together at the end of the loop's
 * round, or with the answer to what was read, so a connection costs one system call a round.
 *
 * Flow control. A stream's window opens as its bytes are taken, the connection's as they arrive:
 * who is slow holds up itself. Windows begin at 64 KiB and twice that; while a body fills them, a
 * PING measures how many bytes come in a round trip, and they grow to twice that, up to
 * `max_window`. A stream has the grown window only while it is read without a pause.
 *
 * A dead peer. When bytes of ours have found no word of any kind for `ping`, a PING asks; as long
 * again, and the connection has failed. Nothing is sent while nobody waits for anything.
 *
 * A misbehaving peer. nghttp2 checks framing, state, header fields and lengths; continuations,
 * settings and unanswered acknowledgements have bounds there. Frames that bring nothing (PING,
 * SETTINGS, WINDOW_UPDATE, empty DATA) have one here. What breaks one exchange resets its stream,
 * what breaks the connection fails all calls with the reason.
 *
 * Ownership: embedded by the pool, freed not before the end of the loop's round. One thread.
 */
#ifndef TG_HTTP_H2_CLIENT_H
#define TG_HTTP_H2_CLIENT_H

#include "base/list.h"
#include "http/h2_pace.h"
#include "http/h2_session.h"

struct tg_h2_call;
struct tg_h2_client;

struct tg_h2_client_events {
    /* tg_h2_client_room() has changed by what the origin says. */
    void (*on_room)(struct tg_h2_client *client);
    /* The connection is closed, and its calls were told. Never from inside an operation. */
    void (*on_closed)(struct tg_h2_client *client);
};

struct tg_h2_client_conf {
    uint32_t first;      /* streams at a time, until the origin's SETTINGS say; 0: not known */
    uint32_t streams;    /* at a time, whatever the origin allows; 1 at least */
    uint32_t max_window; /* bytes of a stream; TG_H2_WINDOW at least */
    uint32_t head;       /* bytes of a header list, told to the origin */
    uint64_t ping;       /* us; 0: never */
};

enum tg_h2_client_state { TG_H2_CLIENT_OPEN, TG_H2_CLIENT_LEAVING, TG_H2_CLIENT_CLOSED };

struct tg_h2_client {
    uint32_t magic;
    struct tg_conn conn;
    const struct tg_h2_client_events *events;
    void *owner;
    uint64_t requests;   /* exchanges begun */
    uint32_t call_count; /* open now */

    /* private */
    enum tg_h2_client_state state;
    nghttp2_session *session;
    struct tg_h2_client_conf conf;
    struct tg_list calls;   /* of struct tg_h2_call */
    struct tg_list touched; /* of those: something is to be told after this read or write */
    struct tg_task flush;
    struct tg_h2_out out;
    struct tg_h2_region region; /* the session's memory */
    uint32_t orphans;    /* calls that ended before they left, and that nghttp2 still names */
    bool busy;           /* inside nghttp2: the session must stay */
    bool proven;         /* an answer has come on it */
    bool greeted;        /* the origin's SETTINGS have */
    bool room_changed;   /* on_room is due */
    uint64_t idle_until; /* us; 0: calls are open, or nobody said how long */
    uint64_t asked_at;   /* us: since when bytes of ours have found no word; 0: none have */
    uint64_t ping_at;    /* us: when the PING that asks went; 0: none is out */
    struct tg_h2_pace pace;
    uint32_t empties; /* frames that brought nothing, since */
    uint64_t empties_since;
    const char *reason; /* what nghttp2 found wrong with the connection, static; NULL: nothing */
};

/* Takes over what `from` has: its socket, and TLS. On failure `from` is closed too. */
enum tg_err tg_h2_client_open(struct tg_h2_client *client, struct tg_conn *from,
                              const struct tg_h2_client_conf *conf,
                              const struct tg_h2_client_events *events, void *owner) TG_MUST_USE;

/* How many more calls it takes now. */
uint32_t tg_h2_client_room(const struct tg_h2_client *client);

/* How many streams the origin allows at a time, as far as is known. */
uint32_t tg_h2_client_allowed(const struct tg_h2_client *client);

/* Whether the origin takes CONNECT for other protocols (RFC 8441), once client->greeted. */
bool tg_h2_client_takes_tunnels(const struct tg_h2_client *client);

/* Without calls: on_closed after `idle_timeout` us, unless a call is opened. */
void tg_h2_client_rest(struct tg_h2_client *client, uint64_t idle_timeout);

/* Reads what has arrived, as the loop will; on_closed and on_room may follow from within. */
void tg_h2_client_look(struct tg_h2_client *client);

/* It takes no more calls; those that are open go on. */
void tg_h2_client_leave(struct tg_h2_client *client);

/* Closes at once; no event follows. Allowed on a closed one. No call may be open. */
void tg_h2_client_close(struct tg_h2_client *client);

/* ---- For h2_call.c ---- */

/* The open call whose stream that is; NULL: there is none. */
struct tg_h2_call *tg_h2_client_find(const struct tg_h2_client *client, int32_t id);

/* What was submitted leaves at the end of this round. */
void tg_h2_client_flush_soon(struct tg_h2_client *client);

/* `n` bytes of a body have arrived: the connection's window, and what it should be. `large`: the
 * body is one that may want a wider one. */
void tg_h2_client_count(struct tg_h2_client *client, size_t n, bool large);

/* A frame of the origin's that brought nothing; false: too many, the connection fails. */
bool tg_h2_client_count_empty(struct tg_h2_client *client);

/* Sets the connection's deadline anew, after calls came or went. */
void tg_h2_client_settle(struct tg_h2_client *client);

#endif
