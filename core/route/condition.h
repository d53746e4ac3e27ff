/* condition.h: what a route may ask of a request besides host, path and method: header fields,
 * query parameters, cookies, the client's network, the scheme, the name of the TLS handshake.
 *
 * All conditions of a route have to hold. They are compiled into a flat program when the route is
 * added (tables of struct tg_route_test in layout.h), and tested only for routes whose host and
 * path match and which could still win. What they ask of the request comes through a callback,
 * since this folder knows no HTTP; whoever provides it parses a query or a cookie once, when it is
 * first asked for.
 *
 * Two routes that match the same host, path and method are told apart by what they ask for:
 * tg_route_criteria, compared byte by byte, the lesser one wins.
 */
#ifndef TG_ROUTE_CONDITION_H
#define TG_ROUTE_CONDITION_H

#include "route/regex.h"

#define TG_ROUTE_CONDITIONS_MAX 64   /* of one route: headers, query and cookies together */
#define TG_ROUTE_VALUES_MAX     1024 /* of one condition; also names of sni, and networks */
#define TG_ROUTE_VALUE_MAX      4096 /* bytes of a value or a name */

/* Where the value comes from, in the order in which conditions are tested. */
enum tg_route_source {
    TG_ROUTE_HEADER,
    TG_ROUTE_QUERY,
    TG_ROUTE_COOKIE,
    TG_ROUTE_NETWORK, /* the client's address: 16 bytes, IPv4 as ::ffff:a.b.c.d */
    TG_ROUTE_SCHEME,
    TG_ROUTE_SNI,
    TG_ROUTE_SOURCES
};

/* Tells value `nth` (from 0 on) of `name` in `*value`, borrowed until the lookup ends; false when
 * there are no more. `name` is lower case for headers, and empty from TG_ROUTE_NETWORK on. A header
 * condition holds when one of the values fits; of all else only the first value is asked for. */
typedef bool tg_route_fetch(void *arg, enum tg_route_source source, struct tg_str name,
                            unsigned nth, struct tg_str *value);

enum tg_route_test_kind {
    TG_ROUTE_TEST_PRESENT, /* the value does not matter */
    TG_ROUTE_TEST_VALUE,   /* is one of the values */
    TG_ROUTE_TEST_REGEX,   /* matches values[0], which is not anchored */
    TG_ROUTE_TEST_NETWORK, /* internal from here on */
    TG_ROUTE_TEST_HOST
};

/* A condition on a header field, a query parameter or a cookie. */
struct tg_route_condition {
    enum tg_route_source source; /* up to TG_ROUTE_COOKIE */
    enum tg_route_test_kind kind;
    struct tg_str name; /* a header's in any case */
    const struct tg_str *values;
    size_t value_count;
};

/* IPv4 as ::ffff:a.b.c.d: what has fewer bits than all of it is a network of IPv6, and no address
 * of IPv4 is in that. */
#define TG_ROUTE_FOUR_BITS 96

struct tg_route_network {
    unsigned char bytes[16];
    uint8_t bits; /* 0..128: that count */
};

/* How much a route asks for, most significant first; less is more. */
enum tg_route_criteria_byte {
    TG_ROUTE_BY_HEADERS,  /* 255 - conditions on headers */
    TG_ROUTE_BY_QUERY,    /* 255 - conditions on query parameters */
    TG_ROUTE_BY_COOKIES,  /* 255 - conditions on cookies */
    TG_ROUTE_BY_NETWORKS, /* 128 - bits of its widest network; 255: none */
    TG_ROUTE_BY_SCHEME,   /* 0: asks for one, 1: does not */
    TG_ROUTE_BY_SNI,      /* the same */
    TG_ROUTE_BY_VALUES,   /* 255 - conditions with one value */
    TG_ROUTE_BY_LISTS,    /* 255 - conditions with several */
    TG_ROUTE_BY_REGEXES,  /* 255 - conditions with an expression */
    TG_ROUTE_CRITERIA
};

#endif
