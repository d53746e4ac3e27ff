/* builder.h: collecting routes and building the immutable table from them.
 *
 * tg_route_builder_new(), tg_route_builder_add() for each route, tg_route_table_build(), free. The
 * builder copies all that it is given, but for the handles. One thread at a time; the table may
 * then be read by all. A route that was refused leaves no trace, so a config checker adds on and
 * collects all problems; the build reports all conflicts.
 *
 * Cost: two sorts of all host x path pairs and one pass over them: 100,000 routes take some 100 ms.
 */
#ifndef TG_ROUTE_BUILDER_H
#define TG_ROUTE_BUILDER_H

#include "route/table.h"

#define TG_ROUTE_ENTRIES_MAX 4000000u /* host x path pairs in one table */

struct tg_route_builder;

struct tg_route_spec {
    struct tg_str name; /* unique among the routes: the last tie-break */
    int32_t priority;   /* higher wins; 0 is the usual */
    void *handle;       /* borrowed; what a match answers */
    const struct tg_str *hosts;
    size_t host_count; /* 0: any host */
    const struct tg_str *paths;
    size_t path_count; /* 0: any path */
    const struct tg_str *methods;
    size_t method_count; /* 0: any method */
};

enum tg_route_field { TG_ROUTE_FIELD_HOSTS, TG_ROUTE_FIELD_PATHS, TG_ROUTE_FIELD_METHODS };

/* Why a route was refused: `what` in element `index` of list `field`. */
struct tg_route_refusal {
    enum tg_route_field field;
    size_t index;
    struct tg_route_problem what;
};

/* Two routes with the same match and priority. Names and patterns are borrowed from the builder. */
struct tg_route_conflict {
    struct tg_str first; /* by name */
    struct tg_str second;
    struct tg_str host; /* pattern as the first route wrote it, "*" when it named none */
    struct tg_str path;
};

typedef void tg_route_on_conflict(void *arg, const struct tg_route_conflict *conflict);

/* An empty builder, or NULL when memory is out. */
struct tg_route_builder *tg_route_builder_new(void) TG_MUST_USE;

/* Adds a route. TG_E_INVALID: a pattern is none, see `*refusal`; TG_E_LIMIT: the table would have
 * too many entries, methods or constraints (`refusal->what.text` says which); TG_E_NOMEM. */
enum tg_err tg_route_builder_add(struct tg_route_builder *builder, const struct tg_route_spec *spec,
                                 struct tg_route_refusal *refusal) TG_MUST_USE;

/* Builds the table of all routes added so far into `*out`, owned by the caller; the builder stays
 * as it is. TG_E_EXISTS when routes conflict: `on_conflict(arg, ...)` was called for each pair (it
 * must not touch the builder); TG_E_NOMEM. */
enum tg_err tg_route_table_build(struct tg_route_builder *builder,
                                 tg_route_on_conflict *on_conflict, void *arg,
                                 struct tg_route_table **out) TG_MUST_USE;

void tg_route_builder_free(struct tg_route_builder **builder);

#endif
