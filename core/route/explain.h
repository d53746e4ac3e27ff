/* explain.h: why a request takes the route that it takes, and why the others do not.
 *
 * Looks at every entry of the table instead of searching it, with the same order of precedence
 * (table.h): for people who ask, not for requests. A route with several hosts and paths is told
 * once, by the pair of them that came closest.
 *
 * Threads: any. Cost: linear in the table, some 50 ms for 100,000 routes; memory for the time of
 * the call, some 100 bytes an entry.
 */
#ifndef TG_ROUTE_EXPLAIN_H
#define TG_ROUTE_EXPLAIN_H

#include "route/table.h"

enum tg_route_outcome {
    TG_ROUTE_WINS,
    TG_ROUTE_LOSES, /* it matches, but another is before it */
    TG_ROUTE_FAILS  /* it does not match */
};

/* What a route asks of a request, in the order in which it is checked here. The method comes last:
 * a route that fails by it is one that a 405 lists. TG_ROUTE_CHECK(id, text) */
#define TG_ROUTE_CHECKS(TG_ROUTE_CHECK)                                                            \
    TG_ROUTE_CHECK(HOST, "host")                                                                   \
    TG_ROUTE_CHECK(PORT, "port")                                                                   \
    TG_ROUTE_CHECK(PATH, "path")                                                                   \
    TG_ROUTE_CHECK(HEADER, "header")                                                               \
    TG_ROUTE_CHECK(QUERY, "query parameter")                                                       \
    TG_ROUTE_CHECK(COOKIE, "cookie")                                                               \
    TG_ROUTE_CHECK(NETWORK, "client network")                                                      \
    TG_ROUTE_CHECK(SCHEME, "scheme")                                                               \
    TG_ROUTE_CHECK(SNI, "sni")                                                                     \
    TG_ROUTE_CHECK(METHOD, "method")

enum tg_route_check {
#define TG_ROUTE_CHECK(id, text) TG_ROUTE_CHECK_##id,
    TG_ROUTE_CHECKS(TG_ROUTE_CHECK)
#undef TG_ROUTE_CHECK
        TG_ROUTE_CHECK_COUNT
};

/* What decides between two routes that match, in order. TG_ROUTE_CRITERION(id, text): the text says
 * of the winner what the other is not. */
#define TG_ROUTE_CRITERIA_LIST(TG_ROUTE_CRITERION)                                                 \
    TG_ROUTE_CRITERION(PRIORITY, "higher priority")                                                \
    TG_ROUTE_CRITERION(HOST, "more specific host")                                                 \
    TG_ROUTE_CRITERION(PORT, "names the port")                                                     \
    TG_ROUTE_CRITERION(PATH, "more specific path")                                                 \
    TG_ROUTE_CRITERION(METHOD, "names the method")                                                 \
    TG_ROUTE_CRITERION(HEADERS, "more header conditions")                                          \
    TG_ROUTE_CRITERION(QUERY, "more query conditions")                                             \
    TG_ROUTE_CRITERION(COOKIES, "more cookie conditions")                                          \
    TG_ROUTE_CRITERION(NETWORKS, "narrower client networks")                                       \
    TG_ROUTE_CRITERION(SCHEME, "names the scheme")                                                 \
    TG_ROUTE_CRITERION(SNI, "names the TLS server name")                                           \
    TG_ROUTE_CRITERION(VALUES, "more conditions with one value")                                   \
    TG_ROUTE_CRITERION(LISTS, "more conditions with a list of values")                             \
    TG_ROUTE_CRITERION(REGEXES, "more conditions with a regular expression")                       \
    TG_ROUTE_CRITERION(METHODS, "names fewer methods")                                             \
    TG_ROUTE_CRITERION(NAME, "name is first in byte order")

enum tg_route_criterion {
#define TG_ROUTE_CRITERION(id, text) TG_ROUTE_CRITERION_##id,
    TG_ROUTE_CRITERIA_LIST(TG_ROUTE_CRITERION)
#undef TG_ROUTE_CRITERION
        TG_ROUTE_CRITERION_COUNT
};

struct tg_route_candidate {
    void *handle; /* of the route */
    enum tg_route_outcome outcome;
    enum tg_route_criterion criterion; /* TG_ROUTE_LOSES: by which the first one is before it */
    enum tg_route_check check;         /* TG_ROUTE_FAILS: the first that does not hold */
    struct tg_str name; /* of the header, query parameter or cookie that it checks; else empty */
    bool gave_up;       /* TG_ROUTE_FAILS: an expression reached its bounds (TG_ROUTE_UNDECIDED) */
    int32_t priority;
    struct tg_str host; /* the patterns that came closest, in normal form: "*.example.com:8443", */
    struct tg_str path; /* "/users/{id:[0-9]+}"; borrowed until the callback returns, like `name` */
};

typedef void tg_route_on_candidate(void *arg, const struct tg_route_candidate *candidate);

/* Tells of at most `max` routes: the one that wins, then those that match and lose, in order of
 * precedence, then those that do not match, those that failed last first. `*verdict` is that of
 * tg_route_match(), `*left_out` how many routes were not told of. TG_E_NOMEM: nothing was told. */
enum tg_err tg_route_explain(const struct tg_route_table *table, const struct tg_route_query *query,
                             size_t max, tg_route_on_candidate *on_candidate, void *arg,
                             enum tg_route_verdict *verdict, size_t *left_out) TG_MUST_USE;

/* "host", "query parameter"; "more specific path". */
const char *tg_route_check_text(enum tg_route_check check);
const char *tg_route_criterion_text(enum tg_route_criterion criterion);

#endif
