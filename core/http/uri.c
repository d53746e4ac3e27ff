/* uri.c: paths, authorities and queries. The common path, which needs no change, costs one scan. */
#include "base/banned.h"
#include "http/uri.h"

#include "base/fmt.h"
#include "base/utf8.h"
#include "http/token.h"

#include <arpa/inet.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%xx" at `at` stands for, or -1. */
static int decode_at(struct tg_str s, size_t at)
{
    if (at + 2 >= s.n)
        return -1;
    int high = hex_value(s.p[at + 1]);
    int low = hex_value(s.p[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* True when nothing in `raw` needs a look: no escape, no segment that begins with a dot, and, where
 * they are merged, no doubled slash. */
static bool is_plain(struct tg_str raw, bool merge)
{
    for (size_t i = 0; i < raw.n; i++) {
        bool first = i > 0 && raw.p[i - 1] == '/';
        if (raw.p[i] == '%' || (first && (raw.p[i] == '.' || (merge && raw.p[i] == '/'))))
            return false;
    }
    return true;
}

/* How many escapes in a row, from "%" at `at` on, make one character: 1 for ASCII, more for the
 * bytes of valid UTF-8; 0 for what is refused: NUL, bad digits, bytes that are no UTF-8. */
static size_t escapes_of_character(struct tg_str raw, size_t at)
{
    char bytes[4];
    size_t n = 0;
    for (; n < sizeof(bytes) && at < raw.n && raw.p[at] == '%'; at += 3) {
        int byte = decode_at(raw, at);
        if (byte <= 0)
            break;
        bytes[n++] = (char)byte;
        if (byte < 0x80)
            break;
    }
    return n > 0 ? tg_utf8_len(bytes, n) : 0;
}

/* Appends the escape at `at`: what it stands for where that is unreserved, else in capitals. */
static size_t put_escape(struct tg_str raw, size_t at, char *out)
{
    unsigned char byte = (unsigned char)decode_at(raw, at);
    if (tg_char_is((char)byte, TG_CHAR_UNRESERVED)) {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '%';
    out[1] = "0123456789ABCDEF"[byte >> 4];
    out[2] = "0123456789ABCDEF"[byte & 15];
    return 3;
}

/* Decodes what may be decoded of `raw` into `out` (raw.n bytes), and leaves doubled slashes out
 * where they are merged; the length, or -1 when refused. */
static ptrdiff_t decode_unreserved(struct tg_str raw, bool merge, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] != '%') {
            if (!merge || raw.p[i] != '/' || n == 0 || out[n - 1] != '/')
                out[n++] = raw.p[i];
            continue;
        }
        size_t escapes = escapes_of_character(raw, i);
        if (escapes == 0)
            return -1;
        for (; escapes > 0; escapes--, i += 3)
            n += put_escape(raw, i, out + n);
        i--;
    }
    return (ptrdiff_t)n;
}

/* Removes dot segments in place; the new length, or -1 when ".." leaves the root. */
static ptrdiff_t remove_dots(char *p, size_t n)
{
    size_t out = 0;
    size_t i = 0;
    while (i < n) { /* p[i] is the "/" that begins a segment */
        size_t end = i + 1;
        while (end < n && p[end] != '/')
            end++;
        size_t len = end - i - 1;
        bool dot = len == 1 && p[i + 1] == '.';
        bool dots = len == 2 && p[i + 1] == '.' && p[i + 2] == '.';
        if (dots && out == 0)
            return -1;
        if (dots) {
            do {
                out--;
            } while (p[out] != '/');
        }
        if (!dot && !dots) {
            memmove(p + out, p + i, end - i);
            out += end - i;
        } else if (end == n) {
            p[out++] = '/';
        }
        i = end;
    }
    return (ptrdiff_t)out;
}

enum tg_err tg_uri_normalise_path(struct tg_str raw, bool merge, struct tg_arena *arena,
                                  struct tg_str *out)
{
    *out = raw;
    if (is_plain(raw, merge))
        return TG_OK;
    char *p = tg_arena_alloc(arena, raw.n);
    if (p == NULL)
        return TG_E_NOMEM;
    ptrdiff_t n = decode_unreserved(raw, merge, p);
    if (n >= 0)
        n = remove_dots(p, (size_t)n);
    if (n < 0)
        return TG_E_INVALID;
    *out = tg_str(p, (size_t)n);
    return TG_OK;
}

static bool is_ipv6_literal(struct tg_str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (s.n < 4 || s.n - 2 >= sizeof(text) || s.p[s.n - 1] != ']')
        return false;
    memcpy(text, s.p + 1, s.n - 2);
    text[s.n - 2] = '\0';
    return inet_pton(AF_INET6, text, &ignored) == 1;
}

/* reg-name or IPv4 address, not empty; percent signs begin an escape, and not one of NUL. */
static bool is_reg_name(struct tg_str s)
{
    if (s.n == 0 || !tg_str_all(s, TG_CHAR_HOST))
        return false;
    for (size_t i = tg_str_find(s, '%', 0); i < s.n; i = tg_str_find(s, '%', i + 1)) {
        if (decode_at(s, i) <= 0)
            return false;
    }
    return true;
}

enum tg_err tg_uri_split_authority(struct tg_str authority, struct tg_str *host, uint16_t *port)
{
    bool literal = authority.n > 0 && authority.p[0] == '[';
    size_t from = literal ? tg_str_find(authority, ']', 0) : 0;
    size_t colon = tg_str_find(authority, ':', from);
    uint64_t number = 0;
    *host = tg_str_sub(authority, 0, colon);
    struct tg_str digits = tg_str_sub(authority, colon + 1, authority.n);
    if (digits.n > 5 || (digits.n > 0 && !tg_str_to_u64(digits, &number)) || number > 65535)
        return TG_E_INVALID;
    *port = (uint16_t)number;
    if (literal)
        return is_ipv6_literal(*host) ? TG_OK : TG_E_INVALID;
    return is_reg_name(*host) ? TG_OK : TG_E_INVALID;
}

/* The next byte of what `s` stands for; *at moves behind what it is written with. */
static char decode_next(struct tg_str s, bool plus, size_t *at)
{
    size_t i = (*at)++;
    int byte = s.p[i] == '%' ? decode_at(s, i) : -1;
    if (byte >= 0)
        *at += 2;
    return byte >= 0 ? (char)byte : plus && s.p[i] == '+' ? ' ' : s.p[i];
}

size_t tg_uri_decode_into(struct tg_str s, bool plus, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n;)
        out[n++] = decode_next(s, plus, &i);
    return n;
}

struct tg_str tg_uri_decode(struct tg_str s, bool plus, struct tg_arena *arena)
{
    char *p = tg_arena_alloc(arena, s.n);
    if (p == NULL)
        return (struct tg_str){NULL, 0};
    return tg_str(p, tg_uri_decode_into(s, plus, p));
}

bool tg_uri_decodes_to(struct tg_str s, bool plus, struct tg_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; n++) {
        if (n == text.n || decode_next(s, plus, &i) != text.p[n])
            return false;
    }
    return n == text.n;
}

void tg_uri_encode(struct tg_fmt *f, struct tg_str s, const char *keep)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (tg_char_is(s.p[i], TG_CHAR_UNRESERVED) || (c != 0 && strchr(keep, c) != NULL)) {
            tg_fmt_char(f, s.p[i]);
            continue;
        }
        tg_fmt_char(f, '%');
        tg_fmt_char(f, "0123456789ABCDEF"[c >> 4]);
        tg_fmt_char(f, "0123456789ABCDEF"[c & 15]);
    }
}

bool tg_uri_next_param(struct tg_str *query, struct tg_str *name, struct tg_str *value)
{
    while (query->n > 0) {
        size_t end = tg_str_find(*query, '&', 0);
        struct tg_str pair = tg_str_sub(*query, 0, end);
        *query = tg_str_sub(*query, end + 1, query->n);
        if (pair.n == 0)
            continue;
        size_t eq = tg_str_find(pair, '=', 0);
        *name = tg_str_sub(pair, 0, eq);
        *value = tg_str_sub(pair, eq + 1, pair.n);
        return true;
    }
    return false;
}
