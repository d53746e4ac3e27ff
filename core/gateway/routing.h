/* routing.h: asks the route table which route takes a request.
 *
 * The table asks back for what conditions need (route/condition.h). Query and Cookie are taken
 * apart when the first condition asks for one of theirs, once, however many routes ask; a table
 * without conditions costs nothing of it. What conditions see is what the client sent: edits that
 * plugins made in rewrite are for the origin. The client's address and the scheme are what trusted
 * proxies tell. In clear no condition on `sni` holds.
 *
 * Threads: the worker's. Memory: the request's arena.
 */
#ifndef TG_GATEWAY_ROUTING_H
#define TG_GATEWAY_ROUTING_H

#include "gateway/request.h"
#include "route/table.h"

/* Looks the request up; `match` as of tg_route_match(). TG_E_NOMEM. */
enum tg_err tg_routing_match(struct tg_request *r, enum tg_route_verdict *verdict,
                             struct tg_route_match *match) TG_MUST_USE;

#endif
