/* h2_client_fields.h: heads between HTTP/1.1 and an origin that speaks HTTP/2 (RFC 9113, 8).
 *
 *   the text of a request --- tg_h2_nva_request() ---> nghttp2_nv for nghttp2
 *   a header block --- tg_h2_block_response() ---> struct tg_response_head
 *
 *   its 200 --- tg_h2_head_switch() ---> the 101 that a WebSocket begins with over HTTP/1.1
 *
 * A request for a WebSocket becomes an extended CONNECT (RFC 8441), without the key: what answers
 * to that in HTTP/1.1 is made here. Host becomes ":authority"; a cookie is split into crumbs, which
 * compress better (8.2.3); "TE: trailers" stays, other fields of one connection are left out
 * (8.2.2). What a block holds was checked by h2_fields.h while it came; what makes an answer is
 * checked here.
 *
 * Pure, as h2_fields.h.
 */
#ifndef TG_HTTP_H2_CLIENT_FIELDS_H
#define TG_HTTP_H2_CLIENT_FIELDS_H

#include "http/h2_fields.h"

/* The block of the request whose head is `text`, with the empty line: as this gateway writes it,
 * so what is not well-formed is a programmer error. Its slices point into `text`. `tunnel`: it asks
 * for a WebSocket, and becomes an extended CONNECT. */
void tg_h2_nva_request(struct tg_h2_nva *nva, struct tg_str text, struct tg_str scheme,
                       bool tunnel);

/* Sec-WebSocket-Key of that text; empty: there is none. */
struct tg_str tg_h2_text_key(struct tg_str text);

/* The head of an answer to a request with `method`; `ended`: no body follows. False: it is none,
 * *why tells in static text. */
bool tg_h2_block_response(struct tg_h2_block *block, enum tg_method method, bool ended,
                          struct tg_response_head *head, const char **why) TG_MUST_USE;

/* Makes `head`, a 2xx to an extended CONNECT, the 101 that answers to `key`; TG_E_NOMEM. */
enum tg_err tg_h2_head_switch(struct tg_response_head *head, struct tg_str key,
                              struct tg_arena *arena) TG_MUST_USE;

#endif
