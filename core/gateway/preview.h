/* preview.h: what a route makes of a request, told without one: for people who ask.
 *
 * The rewriting is that of requests that are served; plugins have no part in it.
 *
 * Threads: any. Memory: the arena.
 */
#ifndef TG_GATEWAY_PREVIEW_H
#define TG_GATEWAY_PREVIEW_H

#include "base/arena.h"
#include "config/snapshot.h"
#include "route/table.h"

struct tg_preview_request {
    const struct tg_route_conf *route;
    const struct tg_route_match *match;
    struct tg_str scheme;
    struct tg_str authority; /* what the client calls the gateway; may be empty */
    struct tg_str path;      /* normalised */
    struct tg_str query;     /* p == NULL: none */
};

/* Where the request, or a copy of it, may go. */
struct tg_preview_origin {
    const struct tg_service_conf *service;
    const char *role; /* "service", "split", "canary", "mirror" */
    struct tg_str target;
};

#define TG_PREVIEW_ORIGINS_MAX 40

struct tg_preview {
    struct tg_preview_origin origins[TG_PREVIEW_ORIGINS_MAX];
    unsigned origin_count;
    struct tg_str host;     /* what Host says; empty: the target's own address */
    struct tg_str location; /* of a redirect; empty: none */
};

/* Tells what becomes of the request; strings are in `arena` or borrowed from `request`.
 * TG_E_INVALID: captures that make no path or host, which the gateway answers with 400; TG_E_NOMEM.
 */
enum tg_err tg_preview(const struct tg_preview_request *request, struct tg_arena *arena,
                       struct tg_preview *out) TG_MUST_USE;

#endif
