/* head.h: what is asked of a head, whatever protocol carried it.
 *
 * The parsers of HTTP/1.1 (h1_parse.h) and HTTP/2 (h2_fields.h) take a head apart, each in its own
 * way; what target, host and length may look like is decided here, once, so that no rule is passed
 * by choosing the other protocol.
 *
 * Pure; slices in the result point into what was given, or into the arena.
 */
#ifndef TG_HTTP_HEAD_H
#define TG_HTTP_HEAD_H

#include "http/message.h"

/* Bounds of a head; the size is the caller's business. */
struct tg_head_limits {
    uint32_t fields;
    size_t target;      /* requests */
    bool merge_slashes; /* requests: how a path is normalised, http/uri.h */
};

/* Why a message was refused: the status to answer (0: without an answer the connection is closed,
 * or the stream reset) and the reason for the log, static text. */
struct tg_refusal {
    unsigned status;
    const char *reason;
};

/* Fills `refusal`; always false, for `return tg_head_refuse(...)`. */
bool tg_head_refuse(struct tg_refusal *refusal, unsigned status, const char *reason);

/* Takes h->target apart into form, path and query, and of the absolute and the authority form the
 * authority. h->method is known. false: refused with 400, 414, or 503 where memory is out. */
bool tg_head_read_target(const struct tg_head_limits *limits, struct tg_arena *arena,
                         struct tg_request_head *h, struct tg_refusal *refusal) TG_MUST_USE;

/* Host: one, valid, and there but in HTTP/1.0 (RFC 9112, 3.2). Fills host, port and authority;
 * after tg_head_read_target(). false: refused with 400. */
bool tg_head_read_host(struct tg_request_head *h, struct tg_refusal *refusal) TG_MUST_USE;

/* Content-Length: one field, digits only. Several fields or a list are refused even when they
 * agree, because somebody else may pick another one. False: it is not that. */
bool tg_head_read_length(const struct tg_fields *fields, uint64_t *length, bool *given) TG_MUST_USE;

/* Whether an answer to a request with `method` says how long it is (RFC 9110, 8.6), and what. */
bool tg_head_says_length(const struct tg_response_head *head, enum tg_method method,
                         uint64_t *length) TG_MUST_USE;

/* "1.0", "1.1" or "2", static: how plugins, logs and Via name the version. */
struct tg_str tg_request_head_version(const struct tg_request_head *h);

#endif
