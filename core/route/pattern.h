/* pattern.h: host and path patterns as byte strings whose order is their precedence.
 *
 * A pattern is parsed once, when a route is added, into a key. Comparing two keys with memcmp()
 * tells which pattern wins where both match, and equal keys mean "the same match": the total order
 * of the table is the order of its keys, nothing else. The tree is built from the same bytes.
 *
 * Hosts: "a.example" exact; "*.example" any name below, at any depth; "*" any host; each may end in
 * ":8443" for one port. Exact before wildcard before any, more labels first, a port before none.
 *
 *     [kind] [255 - labels, for wildcards] [name in lower case] [0] [0: port, 1: none]
 *     [port, 2 bytes]
 *
 * Paths: "/a/b" exact; "/a/[*]" a prefix on segment bounds (brackets only for this comment); "{id}"
 * one whole segment, not empty; "{id:int}" and "{id:[a-z_]+}" a segment made only of such bytes;
 * "{path...}" at the end, the rest after the slash, which may be empty; "~^/v(\d+)/" a regular
 * expression (regex.h) from the start of the path on. From left to right: text before a constrained
 * parameter (the set of fewer bytes first) before a regular expression before a free parameter
 * before a rest before a prefix, so the pattern that says more about the first place of difference
 * wins. A regular expression stands where its leading literal text ends; of two that stand in one
 * place the longer one is first, then the one less in byte order.
 *
 *     text | FB [size of the set, 2 bytes] [the set, 32 bytes] | FD free parameter | end
 *     end: 00 exact, FE rest, FF prefix, FC [65535 - length, 2 bytes] [expression]
 *     (the bytes FB to FF and 00 cannot be in the text)
 *
 * Text is brought into the form in which request paths arrive (http/uri.h): percent-encoded
 * unreserved characters are decoded, other escapes get upper-case digits, bytes beyond ASCII are
 * encoded. "/café", "/caf%c3%a9" and "/%63af%C3%A9" are one pattern.
 *
 * Pure functions: no state, no allocation.
 */
#ifndef TG_ROUTE_PATTERN_H
#define TG_ROUTE_PATTERN_H

#include "base/err.h"
#include "base/str.h"

#define TG_ROUTE_HOST_MAX     253  /* bytes of a host's name */
#define TG_ROUTE_PATH_MAX     1024 /* bytes of a path pattern */
#define TG_ROUTE_CAPTURES_MAX 16   /* parameters of one path pattern */
#define TG_ROUTE_NAME_MAX     64   /* bytes of a parameter's name */

#define TG_ROUTE_KEY_EXACT  0x00
#define TG_ROUTE_KEY_SET    0xfb
#define TG_ROUTE_KEY_REGEX  0xfc
#define TG_ROUTE_KEY_FREE   0xfd
#define TG_ROUTE_KEY_REST   0xfe
#define TG_ROUTE_KEY_PREFIX 0xff

#define TG_ROUTE_SET_BYTES 32

enum tg_route_host_kind { TG_ROUTE_HOST_EXACT, TG_ROUTE_HOST_WILDCARD, TG_ROUTE_HOST_ANY };

/* What is wrong with a pattern, where, and what to write instead. */
struct tg_route_problem {
    const char *text; /* static, but of PCRE2: then this thread's until it compiles again */
    const char *hint; /* static */
    size_t at;        /* offset in the pattern */
};

struct tg_route_host {
    enum tg_route_host_kind kind;
    uint16_t port;                /* 0: any */
    uint8_t n;                    /* length of name */
    char name[TG_ROUTE_HOST_MAX]; /* lower case, without "*." */
};

struct tg_route_key {
    size_t n;
    unsigned char p[4096];
};

struct tg_route_path {
    struct tg_route_key key;
    struct tg_str regex; /* slice of the pattern behind "~"; empty: none */
    unsigned captures;
    size_t names_n;
    char names[TG_ROUTE_CAPTURES_MAX * (1 + TG_ROUTE_NAME_MAX)]; /* each: length byte, bytes */
};

/* Parses a host pattern; TG_E_INVALID with `*problem` set when it is none. */
enum tg_err tg_route_host_parse(struct tg_str pattern, struct tg_route_host *out,
                                struct tg_route_problem *problem) TG_MUST_USE;

/* The key of a host pattern. */
void tg_route_host_key(const struct tg_route_host *host, struct tg_route_key *out);

/* Parses a path pattern; TG_E_INVALID with `*problem` set when it is none. Whether a regular
 * expression compiles is not asked here; its captures are left out too. */
enum tg_err tg_route_path_parse(struct tg_str pattern, struct tg_route_path *out,
                                struct tg_route_problem *problem) TG_MUST_USE;

#endif
