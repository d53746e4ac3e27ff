/* table.h: the immutable route table: which route takes a request.
 *
 * Order of calls: a builder (route/builder.h) collects routes and builds a table aside; then any
 * number of threads call tg_route_match() on it without a lock, until the owner frees it. A table
 * is never changed.
 *
 * Of all routes that match, the first in this order wins:
 *   1. the higher priority
 *   2. the host: exact, then the longest wildcard, then none; with a port before without
 *   3. the path, from left to right at the first difference: text, constrained parameter, free
 *      parameter, {rest...}, prefix; so an exact path before the longest prefix
 *   4. the methods: named ones, fewer first; then HEAD where a route names GET but not HEAD; then
 *      routes for any method
 *   5. the name of the route, in byte order
 * The order is total: two routes that do not differ in 1 to 4 are a conflict at build time, so 5
 * only decides between overlapping, different method sets of one size. The order of declaration
 * never matters.
 *
 * Cost: one hash of the host, one visit of each tree node that fits the path and can still win; no
 * allocation; recursion only at nodes with alternatives, at most twice per segment of a pattern.
 */
#ifndef TG_ROUTE_TABLE_H
#define TG_ROUTE_TABLE_H

#include "base/fmt.h"
#include "route/pattern.h"

struct tg_route_table;

struct tg_route_query {
    struct tg_str host;   /* without port, in any case; a dot at its end is ignored; may be empty */
    uint16_t port;        /* that the client addressed; 0 matches no pattern with a port */
    struct tg_str path;   /* normalised, without query */
    struct tg_str method; /* as in the request line */
};

struct tg_route_capture {
    struct tg_str name;  /* borrowed from the table */
    struct tg_str value; /* slice of the query's path */
};

struct tg_route_match {
    void *handle; /* of the winning route (TG_ROUTE_FOUND) */
    uint64_t
        allow; /* methods of the routes that match but for the method (TG_ROUTE_WRONG_METHOD) */
    unsigned capture_count;
    struct tg_route_capture captures[TG_ROUTE_CAPTURES_MAX];
};

enum tg_route_verdict { TG_ROUTE_FOUND, TG_ROUTE_NOT_FOUND, TG_ROUTE_WRONG_METHOD };

/* Looks `query` up and fills `out`. Any thread. */
enum tg_route_verdict tg_route_match(const struct tg_route_table *table,
                                     const struct tg_route_query *query,
                                     struct tg_route_match *out) TG_MUST_USE;

/* Writes the methods of `allow` as the value of an Allow field: "GET, HEAD, POST". */
void tg_route_table_write_allow(const struct tg_route_table *table, uint64_t allow,
                                struct tg_fmt *out);

/* Bytes that the table holds. */
size_t tg_route_table_bytes(const struct tg_route_table *table);

/* Frees `*table` (NULL is fine) and nulls it. Handles are the caller's. */
void tg_route_table_free(struct tg_route_table **table);

#endif
