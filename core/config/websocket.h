/* websocket.h: what a route asks of its WebSockets: the field `websocket`, frozen.
 *
 * Owned by the snapshot, constant. Times are microseconds, sizes bytes; 0 is none.
 */
#ifndef TG_CONFIG_WEBSOCKET_H
#define TG_CONFIG_WEBSOCKET_H

#include "limit/rate.h"

/* Bounds on what one side sends. */
struct tg_websocket_side_conf {
    uint64_t max_message;
    bool limited;             /* by `rate`: messages and control frames */
    struct tg_rate_rule rate; /* a bucket */
};

struct tg_reconnect_conf {
    bool given;
    uint64_t buffer;   /* bytes of messages that wait for the origin */
    uint64_t deadline; /* for a new connection and its handshake */
    uint64_t backoff, max_backoff;
};

struct tg_websocket_conf {
    struct tg_websocket_side_conf from_client, from_origin;
    uint64_t ping, pong_timeout;
    uint64_t idle_timeout; /* 0: limits.connection.tunnel_idle_timeout */
    struct tg_reconnect_conf reconnect;
};

/* What holds where a plugin looks at messages and the route says nothing of them: the defaults of
 * lua/tidegate/websocket.lua. */
extern const struct tg_websocket_conf tg_websocket_defaults;

#endif
