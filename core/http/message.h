/* message.h: heads of requests and responses, whatever carried them.
 *
 * A head is parsed into slices of the buffer it was read into; the request's arena adopts that
 * buffer, so slices live as long as the request. What the client sent is never changed: what goes
 * to the origin, and what comes back, are heads of their own that start as copies of the slices.
 */
#ifndef TG_HTTP_MESSAGE_H
#define TG_HTTP_MESSAGE_H

#include "http/field.h"
#include "http/token.h"

/* How the length of a body is known (RFC 9112, 6). */
enum tg_framing {
    TG_FRAMING_NONE,    /* there is no body */
    TG_FRAMING_LENGTH,  /* Content-Length */
    TG_FRAMING_CHUNKED, /* chunked, or frames of a multiplexed protocol: ends with a mark */
    TG_FRAMING_CLOSE    /* until the origin closes: responses only */
};

/* The form of a request target (RFC 9112, 3.2). */
enum tg_target_form {
    TG_TARGET_ORIGIN,
    TG_TARGET_ABSOLUTE,
    TG_TARGET_AUTHORITY,
    TG_TARGET_ASTERISK
};

struct tg_request_head {
    struct tg_str method_name;
    enum tg_method method;
    enum tg_target_form form;
    uint8_t major;        /* 1 or 2 */
    uint8_t minor;        /* of HTTP/1.x */
    struct tg_str target; /* as sent */
    struct tg_str
        authority;      /* "host:port" as it counts: of the target, else of Host; may be empty */
    struct tg_str host; /* without port and brackets kept for IPv6; case as sent */
    uint16_t port;      /* 0: not given */
    struct tg_str raw_path; /* as sent; "/" when the target has none */
    struct tg_str path;     /* normalised: http/uri.h */
    struct tg_str query;    /* without "?"; p == NULL: there is no "?" */
    struct tg_fields fields;
    enum tg_framing framing;
    uint64_t length; /* TG_FRAMING_LENGTH */
    bool keep_alive; /* the client wants the connection to stay */
    bool expect_continue;
    bool upgrade;           /* a valid wish to switch protocols: Connection names Upgrade, and none
                             * of them carries requests */
    bool te_trailers;       /* TE: trailers */
    struct tg_str protocol; /* of an extended CONNECT (RFC 8441), which is a GET that upgrades here;
                               NULL: none */
};

struct tg_response_head {
    uint16_t status;
    uint8_t minor;
    struct tg_str reason;
    struct tg_fields fields;
    enum tg_framing framing;
    uint64_t length;
    bool has_length; /* Content-Length was given; with TG_FRAMING_NONE it speaks of a body that a
                      * HEAD or 304 leaves out */
    bool keep_alive; /* the origin's connection may be used again */
};

#endif
