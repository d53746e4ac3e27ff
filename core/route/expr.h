/* expr.h: the predicates of tg.use("name", { when = [[...]] }): small expressions about a request.
 *
 *     method == "POST" and not starts_with(path, "/internal/")
 *     header["x-debug"] or query.page >= 10 or client.ip == '10.0.0.1'
 *
 * Precedence, from low to high: or, and, not, comparison (== != ~= < <= > >=, where ~= is another
 * spelling of !=), parentheses. Operands are strings in either quotes (\\ \" \' are the escapes),
 * decimal numbers, true, false, the fields method, path, host, scheme, client.ip, header.NAME and
 * query.NAME (or header["NAME"]), and the functions starts_with(a, b), ends_with(a, b), contains(a,
 * b).
 *
 * Meaning. A field is a string or absent; where a truth is wanted it says "is present". Against a
 * string it compares byte by byte, against a number as a number. A field that is absent, or is no
 * number beside a number, is unequal to everything: != holds, all other comparisons do not. A
 * function of an absent field is false. Truths are joined by and, or, not, never compared.
 *
 * An expression is checked and compiled once into a flat program in one block, which never changes:
 * any number of threads may test it. Jumps only go forward, so a test takes at most
 * TG_EXPR_STEPS_MAX steps, each one comparison, and allocates nothing.
 */
#ifndef TG_ROUTE_EXPR_H
#define TG_ROUTE_EXPR_H

#include "base/err.h"
#include "base/str.h"

#define TG_EXPR_TEXT_MAX  2048 /* bytes of an expression */
#define TG_EXPR_DEPTH_MAX 32   /* nested parentheses and nots */
#define TG_EXPR_STEPS_MAX 128  /* instructions of a program */

enum tg_expr_field {
    TG_EXPR_METHOD,
    TG_EXPR_PATH,
    TG_EXPR_HOST,
    TG_EXPR_SCHEME,
    TG_EXPR_CLIENT_IP,
    TG_EXPR_HEADER, /* the fields from here on have a name */
    TG_EXPR_QUERY
};

struct tg_expr_error {
    const char *text; /* static */
    const char *hint; /* static */
    size_t column;    /* byte of the expression, from 1 */
};

struct tg_expr;

/* By what a header is found fast, from its name in lower case: asked for when an expression is
 * compiled, and given back with the name whenever it is tested. */
typedef uint64_t tg_expr_key(struct tg_str header);

/* Puts the field into `*value` (borrowed until the test ends); false when the request has none.
 * `name` is that of a header, in lower case and with its key, or of a query parameter; empty for
 * other fields. */
typedef bool tg_expr_fetch(void *arg, enum tg_expr_field field, struct tg_str name, uint64_t key,
                           struct tg_str *value);

/* Compiles `text` into `*out`, owned by the caller and independent of `text`. `key` may be NULL,
 * where it is not to be tested or finds headers by their names. TG_E_INVALID with `*error` set when
 * it is no expression; TG_E_NOMEM. */
enum tg_err tg_expr_new(struct tg_str text, tg_expr_key *key, struct tg_expr **out,
                        struct tg_expr_error *error) TG_MUST_USE;

void tg_expr_free(struct tg_expr **expr);

/* Is the expression true of the request behind `fetch`? Fields that do not matter are not asked
 * for. */
bool tg_expr_test(const struct tg_expr *expr, tg_expr_fetch *fetch, void *arg);

#endif
