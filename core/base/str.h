/* str.h: slices of bytes that somebody else owns.
 *
 * A slice is a pointer and a length; it is not terminated and may hold any byte. It is valid as
 * long as what it points into: the header that hands one out says how long. Comparing "without
 * case" folds ASCII letters only, as header names and hosts want it (RFC 9110, 5.1).
 */
#ifndef TG_BASE_STR_H
#define TG_BASE_STR_H

#include "base/defs.h"

#include <string.h>

struct tg_str {
    const char *p;
    size_t n;
};

/* Slice of a string literal. */
#define TG_STR(literal) ((struct tg_str){(literal), sizeof(literal) - 1})

/* For printf("%.*s"). */
#define TG_STR_ARG(s) (int)(s).n, (s).p

static inline struct tg_str tg_str(const char *p, size_t n)
{
    return (struct tg_str){p, n};
}

/* Slice of a terminated string; NULL gives the empty slice. */
static inline struct tg_str tg_str_c(const char *s)
{
    return s != NULL ? (struct tg_str){s, strlen(s)} : (struct tg_str){"", 0};
}

static inline bool tg_str_eq(struct tg_str a, struct tg_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char tg_char_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for the case of ASCII letters. */
bool tg_str_eq_nocase(struct tg_str a, struct tg_str b);

static inline bool tg_str_starts(struct tg_str s, struct tg_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* Position of byte `c` from `from` on, or s.n. */
static inline size_t tg_str_find(struct tg_str s, char c, size_t from)
{
    const char *at = from < s.n ? memchr(s.p + from, c, s.n - from) : NULL;
    return at != NULL ? (size_t)(at - s.p) : s.n;
}

/* Bytes [from, to) of `s`; both are clamped to the slice. */
static inline struct tg_str tg_str_sub(struct tg_str s, size_t from, size_t to)
{
    to = TG_MIN(to, s.n);
    from = TG_MIN(from, to);
    return (struct tg_str){from > 0 ? s.p + from : s.p, to - from}; /* s.p may be NULL */
}

struct tg_str tg_str_trim_all(struct tg_str s); /* for tg_str_trim() */

static inline bool tg_char_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Without spaces and tabs at both ends (OWS of RFC 9110, 5.6.3). */
static inline struct tg_str tg_str_trim(struct tg_str s)
{
    if (s.n > 0 && s.p[0] == ' ') { /* one in front, as behind most colons */
        s.p++;
        s.n--;
    }
    return s.n > 0 && (tg_char_is_blank(s.p[0]) || tg_char_is_blank(s.p[s.n - 1]))
               ? tg_str_trim_all(s)
               : s;
}

/* Takes the next element off a comma separated list (RFC 9110, 5.6.1) into `*item`, trimmed;
 * empty elements are skipped. False when the list is used up. */
bool tg_str_next_item(struct tg_str *list, struct tg_str *item);

/* Decimal digits, all of them, into `*out`: false when empty, when another byte occurs, or when the
 * value exceeds UINT64_MAX. */
bool tg_str_to_u64(struct tg_str s, uint64_t *out) TG_MUST_USE;

#endif
