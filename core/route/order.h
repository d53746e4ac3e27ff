/* order.h: what a builder's routes match, in order of precedence.
 *
 * For people who want to see the table, and for the check that finds routes which others shadow:
 * after a table has been built, its builder knows the rank of every entry.
 *
 * Threads: that of the builder. Cost: one sort of the entries.
 */
#ifndef TG_ROUTE_ORDER_H
#define TG_ROUTE_ORDER_H

#include "route/builder.h"

/* One host and path of a route. */
struct tg_route_listing {
    void *handle;
    int32_t priority;
    struct tg_str host; /* patterns, borrowed from the builder; "*" where the route named none */
    struct tg_str path;
    bool auto_head; /* HEAD on behalf of a route that names GET */
};

typedef void tg_route_on_listing(void *arg, const struct tg_route_listing *listing);

/* Tells of every entry, the one that is tried first, first. Only after tg_route_table_build() has
 * made a table of this builder. TG_E_NOMEM: nothing was told. */
enum tg_err tg_route_order(const struct tg_route_builder *builder, tg_route_on_listing *on_listing,
                           void *arg) TG_MUST_USE;

#endif
