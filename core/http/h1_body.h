/* h1_body.h: where a message's body ends, and its bytes without framing (RFC 9112, 6 and 7).
 *
 * Bytes go in as they arrive; decoded bytes come out at the front of the same memory, so a chunked
 * body costs no copy beyond closing the gaps between chunks, and many small chunks leave as one
 * piece. Strict: chunk sizes are hex digits that fit 60 bits, extensions are bounded, each chunk
 * ends in CRLF, trailers are looked at like heads.
 */
#ifndef TG_HTTP_H1_BODY_H
#define TG_HTTP_H1_BODY_H

#include "http/h1_parse.h"

struct tg_h1_body {
    enum tg_framing framing;
    uint64_t left; /* of the body (LENGTH) or of the chunk */
    uint64_t seen; /* decoded bytes so far */
    int state;     /* private: enum chunk_state */
    uint32_t size_digits;
    uint32_t extension; /* bytes of chunk extensions so far */
    uint32_t max_fields;
    uint32_t max_trailer;
    struct tg_arena *arena; /* for trailers; borrowed */
    struct tg_head_scan scan;
    char *trailer; /* in the arena, once there is one */
    uint32_t trailer_n;
    uint32_t trailer_cap;
    struct tg_fields trailers;
};

enum tg_body_result {
    TG_BODY_MORE, /* all input is used up, the body goes on */
    TG_BODY_END,  /* the body is complete; what is behind `used` belongs to the next message */
    TG_BODY_BAD   /* framing broken */
};

/* A body with that framing; `length` for TG_FRAMING_LENGTH. Trailers may have `max_fields` lines
 * and `max_trailer` bytes. */
void tg_h1_body_init(struct tg_h1_body *body, enum tg_framing framing, uint64_t length,
                     struct tg_arena *arena, uint32_t max_fields, uint32_t max_trailer);

/* Decodes p[0, n): *used bytes were taken, *data is what they held (inside p[0, n)). */
enum tg_body_result tg_h1_body_decode(struct tg_h1_body *body, char *p, size_t n, size_t *used,
                                      struct tg_str *data);

/* The peer ended its side: true when the body was complete by that. */
bool tg_h1_body_end(struct tg_h1_body *body);

#endif
