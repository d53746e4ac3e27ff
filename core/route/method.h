/* method.h: request methods as bits of a mask.
 *
 * The methods of RFC 9110 (9.3) and PATCH (RFC 5789) have fixed bits. Other methods get the next
 * free bit when a route names them; a method that no route names is the bit "other", which only a
 * route for any method has. A mask therefore answers "does this route take this method" by one
 * AND, whatever the method is called. Methods are case-sensitive (RFC 9110, 9.1).
 *
 * Plain data without pointers: copied with the table that it belongs to, read by all threads.
 */
#ifndef TG_ROUTE_METHOD_H
#define TG_ROUTE_METHOD_H

#include "base/err.h"
#include "base/fmt.h"

#define TG_ROUTE_METHOD_NAME_MAX 31 /* bytes of a method's name */
#define TG_ROUTE_METHODS_MAX     63 /* different methods in one table; bit 63 is "other" */

#define TG_ROUTE_METHOD_GET     (UINT64_C(1) << 0)
#define TG_ROUTE_METHOD_HEAD    (UINT64_C(1) << 1)
#define TG_ROUTE_METHOD_OPTIONS (UINT64_C(1) << 6)
#define TG_ROUTE_METHOD_OTHER   (UINT64_C(1) << 63)
#define TG_ROUTE_METHOD_ANY     UINT64_MAX

struct tg_route_method {
    uint8_t n;
    char p[TG_ROUTE_METHOD_NAME_MAX];
};

struct tg_route_methods {
    unsigned count;
    struct tg_route_method item[TG_ROUTE_METHODS_MAX]; /* item i has bit i */
};

/* The standard methods only. */
void tg_route_methods_init(struct tg_route_methods *methods);

/* The bit of `name` in `*bit`, given out now when it is new. TG_E_INVALID: not a token (RFC 9110,
 * 5.6.2) or too long; TG_E_LIMIT: too many different methods. */
enum tg_err tg_route_methods_add(struct tg_route_methods *methods, struct tg_str name,
                                 uint64_t *bit) TG_MUST_USE;

/* The bit of `name`; TG_ROUTE_METHOD_OTHER when no route names it. */
uint64_t tg_route_methods_find(const struct tg_route_methods *methods, struct tg_str name);

/* Writes the names in `mask` as the value of an Allow field (RFC 9110, 10.2.1): "GET, HEAD". */
void tg_route_methods_write(const struct tg_route_methods *methods, uint64_t mask,
                            struct tg_fmt *out);

#endif
