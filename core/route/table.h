/* table.h: the immutable route table: which route takes a request.
 *
 * Order of calls: a builder (route/builder.h) collects routes and builds a table aside; then any
 * number of threads call tg_route_match() on it without a lock, until the owner frees it. A table
 * is never changed.
 *
 * Of all routes that match, the first in this order wins:
 *   1. the higher priority
 *   2. the host: exact, then the longest wildcard, then none; with a port before without
 *   3. the path, from left to right at the first difference: text, constrained parameter, regular
 *      expression, free parameter, {rest...}, prefix; so an exact path before the longest prefix
 *   4. the method: a route that names it; then HEAD where a route names GET but not HEAD; then
 *      routes for any method
 *   5. more conditions on headers; 6. more on query parameters; 7. more on cookies
 *   8. the client's network: with before without, and the longer its shortest prefix
 *   9. a scheme; 10. a name of the TLS handshake: with before without
 *  11. more conditions with one value, then with a list of values, then with an expression
 *  12. fewer methods
 *  13. the name of the route, in byte order
 * The order is total: two routes that ask for the same with the same priority are a conflict at
 * build time, so 13 only decides between different sets that overlap. The order of declaration
 * never matters.
 *
 * A request that makes an expression exceed its bounds (regex.h), of a route that no other beats,
 * is answered by TG_ROUTE_UNDECIDED: whoever refuses such a request lets no rule be passed by it.
 *
 * Cost: one hash of the host, one visit of each tree node that fits the path and can still win, one
 * test of each route with conditions that ends there; no allocation but one for each expression
 * that is tried; recursion only at nodes with alternatives, at most twice per segment of a pattern.
 */
#ifndef TG_ROUTE_TABLE_H
#define TG_ROUTE_TABLE_H

#include "base/fmt.h"
#include "route/condition.h"

struct tg_route_table;

struct tg_route_query {
    struct tg_str host;   /* without port, in any case; a dot at its end is ignored; may be empty */
    uint16_t port;        /* that the client addressed, tg_route_port(); 0 matches no pattern with a
                             port */
    struct tg_str path;   /* normalised, without query */
    struct tg_str method; /* as in the request line */
    tg_route_fetch *fetch; /* what conditions ask; NULL: the request has nothing of it */
    void *arg;             /* of fetch */
};

struct tg_route_capture {
    struct tg_str name;  /* borrowed from the table; "1", "2"... for unnamed groups of a regex */
    struct tg_str value; /* slice of the query's path */
};

struct tg_route_match {
    void *handle; /* of the winning route (TG_ROUTE_FOUND) */
    uint64_t
        allow; /* methods of the routes that match but for the method (TG_ROUTE_WRONG_METHOD) */
    size_t matched; /* bytes of the path that the pattern matched before what it leaves open */
    unsigned capture_count;
    struct tg_route_capture captures[TG_ROUTE_CAPTURES_MAX];
};

enum tg_route_verdict {
    TG_ROUTE_FOUND,
    TG_ROUTE_NOT_FOUND,
    TG_ROUTE_WRONG_METHOD, /* only the method keeps some route from matching */
    TG_ROUTE_UNDECIDED     /* an expression reached its bounds (or memory), its route might win */
};

/* The port that a client addresses: the one that it names, or (0: none) that of the scheme "http"
 * or "https". */
static inline uint16_t tg_route_port(uint16_t named, struct tg_str scheme)
{
    return named != 0 ? named : scheme.n == 5 ? 443 : 80;
}

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
