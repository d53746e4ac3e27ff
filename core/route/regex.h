/* regex.h: regular expressions of routes: of paths, and of the values of headers, query parameters
 * and cookies.
 *
 * PCRE2 with its JIT, compiled once when the route is added; immutable and shared by reference
 * count, so that a builder and any number of tables may hold one. Byte semantics: paths arrive as
 * ASCII (http/uri.h), values are what the client sent.
 *
 * Bounds, so that no request can make an expression expensive. When it is added: its length, its
 * nesting, its groups, the size of its code, and a trial on subjects that make nested repetitions
 * explode; what exceeds one is refused with a reason. When it is matched: steps (each item tried,
 * and the distance moved), backtracks, depth and memory; beyond them the verdict is neither yes nor
 * no, and the caller has to refuse the request rather than guess.
 *
 * Threads: matching, ref and unref on any thread. Cost: some 50 us to compile, 0.2 us to match a
 * path of 30 bytes; matching takes one allocation, and gives it back.
 */
#ifndef TG_ROUTE_REGEX_H
#define TG_ROUTE_REGEX_H

#include "route/pattern.h"

#define TG_ROUTE_REGEX_MAX       1024  /* bytes of an expression */
#define TG_ROUTE_REGEX_NEST_MAX  16    /* nested groups */
#define TG_ROUTE_REGEX_CODE_MAX  32768 /* bytes of its code before the JIT */
#define TG_ROUTE_REGEX_STEPS_MAX 100000u

struct tg_route_regex;

/* Bytes [at, at + n) of a subject; n is 0 for a group that took no part. */
struct tg_route_span {
    uint32_t at;
    uint32_t n;
};

enum tg_route_regex_verdict {
    TG_ROUTE_REGEX_NO,
    TG_ROUTE_REGEX_YES,
    TG_ROUTE_REGEX_LIMIT, /* given up at one of the bounds */
    TG_ROUTE_REGEX_NOMEM
};

/* Compiles `pattern` into `*out`, with one reference, the caller's. `anchored`: matches begin at
 * the start of the subject. TG_E_INVALID with `*problem` set when it does not compile or costs too
 * much; TG_E_NOMEM. */
enum tg_err tg_route_regex_new(struct tg_str pattern, bool anchored, struct tg_route_regex **out,
                               struct tg_route_problem *problem) TG_MUST_USE;

/* Another reference; returns `regex`. */
struct tg_route_regex *tg_route_regex_ref(struct tg_route_regex *regex);

/* Drops the caller's reference and nulls it; the last frees the expression. */
void tg_route_regex_unref(struct tg_route_regex **regex);

/* The pattern, and whether it is anchored; borrowed. */
struct tg_str tg_route_regex_pattern(const struct tg_route_regex *regex);
bool tg_route_regex_is_anchored(const struct tg_route_regex *regex);

/* Groups that capture, at most TG_ROUTE_CAPTURES_MAX. */
unsigned tg_route_regex_groups(const struct tg_route_regex *regex);

/* Name of group `group` (from 1 on); empty when it has none. Borrowed. */
struct tg_str tg_route_regex_group_name(const struct tg_route_regex *regex, unsigned group);

/* Bytes that it holds, its machine code included. */
size_t tg_route_regex_bytes(const struct tg_route_regex *regex);

/* Is there a match in `subject`? Fills `spans` (NULL: not wanted) with one span for each group, and
 * behind them one for the whole match. */
enum tg_route_regex_verdict tg_route_regex_match(const struct tg_route_regex *regex,
                                                 struct tg_str subject,
                                                 struct tg_route_span *spans) TG_MUST_USE;

#endif
