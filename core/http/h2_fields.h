/* h2_fields.h: header blocks of HTTP/2 (RFC 9113, 8) made into heads, and heads into blocks.
 *
 *   a field of a block --- tg_h2_block_add() ---> struct tg_h2_block
 *                                                   tg_h2_block_request()  -> struct
 * tg_request_head tg_h2_block_trailers() -> struct tg_fields
 *
 *   struct tg_response_head, struct tg_fields --- tg_h2_nva_...() ---> nghttp2_nv for nghttp2
 *
 * What HTTP/2 calls malformed (8.1.1) is refused with status 0: the stream is reset. What HTTP/1.1
 * refuses too (a host that is none, a path that leaves the root) is refused as there, by the same
 * code, head.h. Nothing here relies on what nghttp2 has checked before: upper case in names, pseudo
 * fields after others or twice, fields of one connection, bytes that end a line, white space around
 * a value, and two names for one authority never come through.
 *
 * A head that came by HTTP/2 looks as one that came by HTTP/1.1: Host stands among its fields as
 * the first, and the crumbs of a cookie are one field (8.2.3).
 *
 * Pure: bytes are copied into the arena, names that field.def knows are static. Cost: one
 * allocation a field.
 */
#ifndef TG_HTTP_H2_FIELDS_H
#define TG_HTTP_H2_FIELDS_H

#include "http/head.h"

#include <nghttp2/nghttp2.h>

/* What RFC 9113, 6.5.2 adds to the size of each field. */
#define TG_H2_FIELD_OVERHEAD 32

enum tg_h2_pseudo {
    TG_H2_METHOD,
    TG_H2_SCHEME,
    TG_H2_AUTHORITY,
    TG_H2_PATH,
    TG_H2_PROTOCOL, /* RFC 8441 */
    TG_H2_STATUS,
    TG_H2_PSEUDOS
};

/* A block on its way in. Zeroes but for what tg_h2_block_init() sets. */
struct tg_h2_block {
    struct tg_arena *arena;              /* borrowed */
    struct tg_str pseudo[TG_H2_PSEUDOS]; /* p == NULL: not there */
    struct tg_fields fields;             /* the others, with Host */
    uint64_t size; /* of all fields, as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    uint64_t max_size;
    uint32_t max_fields;
    uint32_t crumbs;           /* cookies behind the first: they are no fields of their own */
    bool regular;              /* a field that is no pseudo field has come */
    bool refused;              /* why: the first fault; what follows is not kept */
    struct tg_refusal refusal; /* 0, 431, 503 */
};

/* A block of at most `max_fields` fields and `max_size` bytes; more: 431. */
void tg_h2_block_init(struct tg_h2_block *block, struct tg_arena *arena, uint32_t max_fields,
                      uint64_t max_size);

/* The next field. Faults are kept until the block is read. */
void tg_h2_block_add(struct tg_h2_block *block, struct tg_str name, struct tg_str value);

/* The head of a request whose block is complete; `ended`: no body follows. `head` is filled as far
 * as it went where it is refused (false). */
bool tg_h2_block_request(struct tg_h2_block *block, const struct tg_head_limits *limits, bool ended,
                         struct tg_request_head *head, struct tg_refusal *refusal) TG_MUST_USE;

/* The trailers; those that must not come there are left out (RFC 9110, 6.5.1). False: refused. */
bool tg_h2_block_trailers(struct tg_h2_block *block, struct tg_fields *out,
                          struct tg_refusal *refusal) TG_MUST_USE;

/* True for a field that describes one connection and must not be in a block (8.2.2). */
bool tg_h2_field_is_forbidden(enum tg_field_id id);

/* A block on its way out, in an arena. Latches failure like a tg_fmt. nghttp2 copies what it is
 * given when a frame is submitted, and makes names lower case. */
struct tg_h2_nva {
    struct tg_arena *arena; /* borrowed */
    nghttp2_nv *v;
    uint32_t n;
    uint32_t cap;
    bool failed; /* no memory */
};

/* Room for `guess` fields. */
void tg_h2_nva_init(struct tg_h2_nva *nva, struct tg_arena *arena, uint32_t guess);

/* A field; the slices are borrowed until the frame is submitted. */
void tg_h2_nva_add(struct tg_h2_nva *nva, struct tg_str name, struct tg_str value);

/* All fields but those of one connection and Content-Length, which follows from the framing. */
void tg_h2_nva_fields(struct tg_h2_nva *nva, const struct tg_fields *fields);

/* ":status", first of all. */
void tg_h2_nva_status(struct tg_h2_nva *nva, unsigned status);

/* The head of an answer to a request with `method`: status, fields, length. */
void tg_h2_nva_response(struct tg_h2_nva *nva, const struct tg_response_head *head,
                        enum tg_method method);

#endif
