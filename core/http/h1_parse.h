/* h1_parse.h: heads of HTTP/1.x messages (RFC 9112), strictly.
 *
 * Two steps, both pure. tg_head_scan() looks at bytes as they arrive and finds the end of the head;
 * it refuses what no honest peer sends: bare CR or LF, NUL and other controls, folded lines. It
 * remembers where it stood, so a head that comes byte by byte is still looked at once. Then
 * tg_h1_parse_request() or tg_h1_parse_response() takes the first line and the field lines apart,
 * has llhttp judge a first line that is not a usual one, and checks what decides the framing and
 * the target: names are tokens, Host is
 * one and valid, Content-Length and Transfer-Encoding agree with section 6 or the message is
 * refused.
 *
 * All slices in the result point into the given bytes, or into the arena.
 */
#ifndef TG_HTTP_H1_PARSE_H
#define TG_HTTP_H1_PARSE_H

#include "http/head.h"

/* Where a scan stands. Zero it before the first call; with `lines` at 1 it scans a trailer section,
 * which has no first line of another kind. */
struct tg_head_scan {
    uint32_t at;         /* bytes known to be good */
    uint32_t line_start; /* of the line that `at` is in */
    uint32_t lines;      /* complete lines, the empty last one not counted */
    uint32_t start;      /* first byte of the head, behind empty lines in front of it */
};

enum tg_scan_result { TG_SCAN_MORE, TG_SCAN_DONE, TG_SCAN_BAD };

/* Looks at p[0, n), of which earlier calls have seen a prefix. DONE: the head is p[scan->start,
 * scan->at). `*why` tells what BAD is about (static text). */
enum tg_scan_result tg_head_scan(struct tg_head_scan *scan, const char *p, size_t n,
                                 const char **why);

/* Parses the head p[0, n) that a scan delimited. false: refused. */
bool tg_h1_parse_request(const char *p, size_t n, const struct tg_head_limits *limits,
                         struct tg_arena *arena, struct tg_request_head *out,
                         struct tg_refusal *refusal) TG_MUST_USE;

/* The same for an answer to a request with `method`. */
bool tg_h1_parse_response(const char *p, size_t n, const struct tg_head_limits *limits,
                          enum tg_method method, struct tg_arena *arena,
                          struct tg_response_head *out, struct tg_refusal *refusal) TG_MUST_USE;

/* Parses a trailer section: field lines and the empty line at the end. Fields that must not come
 * in trailers are left out (RFC 9110, 6.5.1). false: refused. */
bool tg_h1_parse_trailers(const char *p, size_t n, uint32_t max_fields, struct tg_arena *arena,
                          struct tg_fields *out) TG_MUST_USE;

#endif
