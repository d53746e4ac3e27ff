/* builder.h: collecting routes for the immutable table.
 *
 * tg_route_builder_new(), tg_route_builder_add() for each route, tg_route_table_build() of
 * route/build.h, free. The builder copies all that it is given, but for the handles. A route that
 * was refused leaves no trace, so a config checker adds on and collects all problems.
 *
 * Threads: one at a time. Cost: a route's patterns are parsed and copied, amortised O(their
 * length).
 */
#ifndef TG_ROUTE_BUILDER_H
#define TG_ROUTE_BUILDER_H

#include "route/condition.h"

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
    size_t method_count;                         /* 0: any method */
    const struct tg_route_condition *conditions; /* all must hold */
    size_t condition_count;
    const struct tg_route_network *networks;
    size_t network_count;      /* 0: any client */
    struct tg_str scheme;      /* empty: any */
    const struct tg_str *snis; /* hosts, exact or "*." wildcards */
    size_t sni_count;          /* 0: any, or no TLS */
};

enum tg_route_field {
    TG_ROUTE_FIELD_HOSTS,
    TG_ROUTE_FIELD_PATHS,
    TG_ROUTE_FIELD_METHODS,
    TG_ROUTE_FIELD_CONDITIONS,
    TG_ROUTE_FIELD_NETWORKS,
    TG_ROUTE_FIELD_SNIS
};

/* Why a route was refused: `what` in element `index` of list `field`. */
struct tg_route_refusal {
    enum tg_route_field field;
    size_t index;
    struct tg_route_problem what;
};

/* An empty builder, or NULL when memory is out. */
struct tg_route_builder *tg_route_builder_new(void) TG_MUST_USE;

/* Adds a route. TG_E_INVALID: a pattern is none, see `*refusal`; TG_E_LIMIT: the table would have
 * too many entries, methods, constraints or expressions (`refusal->what.text` says which);
 * TG_E_NOMEM. */
enum tg_err tg_route_builder_add(struct tg_route_builder *builder, const struct tg_route_spec *spec,
                                 struct tg_route_refusal *refusal) TG_MUST_USE;

void tg_route_builder_free(struct tg_route_builder **builder);

#endif
