/* build.h: from the routes of a builder to the immutable table.
 *
 * All conflicts are reported, not only the first, and a table with conflicts is not made: two
 * routes that no rule of precedence tells apart would be decided by luck.
 *
 * Threads: one at a time on a builder; the table may then be read by all. Cost: two sorts of all
 * host x path pairs and one pass over them: 100,000 routes take some 100 ms.
 */
#ifndef TG_ROUTE_BUILD_H
#define TG_ROUTE_BUILD_H

#include "route/builder.h"
#include "route/table.h"

/* Two routes with the same match and priority. Names and patterns are borrowed from the builder. */
struct tg_route_conflict {
    struct tg_str first; /* by name */
    struct tg_str second;
    struct tg_str host; /* pattern as the first route wrote it, "*" when it named none */
    struct tg_str path;
};

typedef void tg_route_on_conflict(void *arg, const struct tg_route_conflict *conflict);

/* Builds the table of all routes added so far into `*out`, owned by the caller; the builder stays
 * as it is. TG_E_EXISTS when routes conflict: `on_conflict(arg, ...)` was called for each pair (it
 * must not touch the builder); TG_E_NOMEM. */
enum tg_err tg_route_table_build(struct tg_route_builder *builder,
                                 tg_route_on_conflict *on_conflict, void *arg,
                                 struct tg_route_table **out) TG_MUST_USE;

#endif
