/* param.h: parameters of a request by name: query, cookies, host. What ctx.req, templates and the
 * expressions of `when` look up.
 *
 * Results are slices of the request's head, or of its arena where they had to be decoded; they live
 * as long as the request. What is looked up by name is decoded once, however often somebody asks: a
 * request may be long, a stream or a WebSocket, and its arena only grows.
 */
#ifndef TG_GATEWAY_PARAM_H
#define TG_GATEWAY_PARAM_H

#include "gateway/request.h"

/* `encoded` as text: percent-encoding and "+" decoded, each time anew; p == NULL: no memory. */
struct tg_str tg_param_decode(struct tg_request *r, struct tg_str encoded);

/* The first query parameter called `name` (decoded) into *value; p == NULL where there is none.
 * TG_E_NOMEM. */
enum tg_err tg_param_query(struct tg_request *r, struct tg_str name,
                           struct tg_str *value) TG_MUST_USE;

/* The cookie called `name`; p == NULL where there is none. */
struct tg_str tg_param_cookie(const struct tg_request *r, struct tg_str name);

/* Takes the next "name=value" off a Cookie value (RFC 6265, 4.2.1), quotes removed; slices of it.
 * False at the end. */
bool tg_param_next_cookie(struct tg_str *rest, struct tg_str *name, struct tg_str *value);

/* What the path's parameter `name` matched, decoded; p == NULL: there is none, or no memory. */
struct tg_str tg_param_capture(struct tg_request *r, struct tg_str name);

/* The host that the client addressed, without port, and the port (0: none was named), as trusted
 * proxies tell them. */
struct tg_str tg_param_host(const struct tg_request *r, uint16_t *port);

#endif
