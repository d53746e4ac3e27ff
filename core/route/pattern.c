/* pattern.c: two small recursive-descent parsers, and what begins a regular expression; see
 * pattern.h for grammar and keys.
 *
 * A parser walks its text by `at`; the first thing that does not fit is reported with its offset
 * and ends the work. Every key fits struct tg_route_key: TG_ROUTE_PATH_MAX bytes of text, each
 * percent-encoded, and TG_ROUTE_CAPTURES_MAX sets of 35 bytes are less than its room, and so is a
 * regular expression behind its own literal text.
 */
#include "base/banned.h"
#include "route/pattern.h"

#include "base/assert.h"
#include "base/utf8.h"

_Static_assert(sizeof(((struct tg_route_key *)0)->p) >=
                   3 * TG_ROUTE_PATH_MAX + TG_ROUTE_CAPTURES_MAX * (3 + TG_ROUTE_SET_BYTES) + 1,
               "a key has room for the longest pattern");

static enum tg_err fail(struct tg_route_problem *problem, size_t at, const char *text,
                        const char *hint)
{
    *problem = (struct tg_route_problem){text, hint, at};
    return TG_E_INVALID;
}

static void put(struct tg_route_key *key, unsigned byte)
{
    tg_assert(key->n < sizeof(key->p));
    key->p[key->n++] = (unsigned char)byte;
}

/* ---- Hosts --------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes ":port" off the end of `*s`. A colon inside brackets belongs to an IPv6 address. */
static enum tg_err take_port(struct tg_str *s, uint16_t *port, struct tg_route_problem *problem)
{
    size_t from = s->n > 0 && s->p[0] == '[' ? tg_str_find(*s, ']', 0) : 0;
    size_t colon = tg_str_find(*s, ':', from);
    uint64_t value;
    *port = 0;
    if (colon == s->n)
        return TG_OK;
    if (!tg_str_to_u64(tg_str_sub(*s, colon + 1, s->n), &value) || value < 1 || value > 65535)
        return fail(problem, colon + 1, "a port is a number from 1 to 65535",
                    "write it as in example.com:8443; an IPv6 address goes into brackets");
    *port = (uint16_t)value;
    s->n = colon;
    return TG_OK;
}

static enum tg_err check_literal(struct tg_str s, struct tg_route_problem *problem)
{
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (!is_alnum(s.p[i]) && s.p[i] != ':' && s.p[i] != '.')
            return fail(problem, i, "not an IPv6 address", "write it as in [2001:db8::1]");
    }
    if (s.n < 4 || s.p[s.n - 1] != ']')
        return fail(problem, 0, "not an IPv6 address", "write it as in [2001:db8::1]");
    return TG_OK;
}

static enum tg_err check_name(struct tg_str s, size_t offset, struct tg_route_problem *problem)
{
    size_t label = 0;
    for (size_t i = 0; i <= s.n; i++) {
        if (i == s.n || s.p[i] == '.') {
            if (i == label)
                return fail(problem, offset + i, "a host has no empty label",
                            "write it as in api.example.com");
            label = i + 1;
        } else if (s.p[i] == '*') {
            return fail(problem, offset + i, "* stands for whole labels at the start of a host",
                        "write it as in *.example.com");
        } else if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') {
            return fail(problem, offset + i, "this character cannot be in a host",
                        "hosts are letters, digits, - and dots; international names as xn--...");
        }
    }
    return TG_OK;
}

enum tg_err tg_route_host_parse(struct tg_str pattern, struct tg_route_host *out,
                                struct tg_route_problem *problem)
{
    struct tg_str s = pattern;
    size_t offset = 0;
    enum tg_err err = take_port(&s, &out->port, problem);
    if (err != TG_OK)
        return err;
    out->kind = TG_ROUTE_HOST_EXACT;
    out->n = 0;
    if (tg_str_eq(s, TG_STR("*"))) {
        out->kind = TG_ROUTE_HOST_ANY;
        return TG_OK;
    }
    if (tg_str_starts(s, TG_STR("*."))) {
        out->kind = TG_ROUTE_HOST_WILDCARD;
        offset = 2;
        s = tg_str_sub(s, 2, s.n);
    }
    if (s.n > 1 && s.p[s.n - 1] == '.') /* the root of DNS, which a Host field may carry too */
        s.n--;
    if (s.n > TG_ROUTE_HOST_MAX)
        return fail(problem, TG_ROUTE_HOST_MAX, "longer than a host can be (253 bytes)",
                    "shorten it");
    bool literal = offset == 0 && s.n > 0 && s.p[0] == '[';
    err = literal ? check_literal(s, problem) : check_name(s, offset, problem);
    if (err != TG_OK)
        return err;
    for (size_t i = 0; i < s.n; i++)
        out->name[i] = tg_char_lower(s.p[i]);
    out->n = (uint8_t)s.n;
    return TG_OK;
}

void tg_route_host_key(const struct tg_route_host *host, struct tg_route_key *out)
{
    unsigned labels = 1;
    for (unsigned i = 0; i < host->n; i++)
        labels += host->name[i] == '.';
    out->n = 0;
    put(out, (unsigned)host->kind);
    put(out, host->kind == TG_ROUTE_HOST_WILDCARD ? 255 - labels : 0);
    memcpy(out->p + out->n, host->name, host->n);
    out->n += host->n;
    put(out, 0);
    put(out, host->port == 0);
    put(out, host->port >> 8);
    put(out, host->port & 0xff);
}

/* ---- Paths --------------------------------------------------------------------------------- */

struct path_parser {
    struct tg_str text;
    size_t at;
    struct tg_route_path *out;
    struct tg_route_problem *problem;
};

static bool is_at(const struct path_parser *p, char c)
{
    return p->at < p->text.n && p->text.p[p->at] == c;
}

static bool at_segment_end(const struct path_parser *p)
{
    return p->at == p->text.n || p->text.p[p->at] == '/';
}

static void set_add(unsigned char *set, unsigned byte)
{
    set[byte >> 3] |= (unsigned char)(1u << (byte & 7));
}

/* One byte of a set, after a backslash as it is. */
static enum tg_err parse_set_byte(struct path_parser *p, unsigned *out)
{
    if (is_at(p, '\\'))
        p->at++;
    if (p->at >= p->text.n)
        return fail(p->problem, p->at, "the set does not end", "close it as in {id:[a-z]+}");
    *out = (unsigned char)p->text.p[p->at++];
    return TG_OK;
}

/* "[a-z_]+" with ranges and a leading ^ for all bytes but these. */
static enum tg_err parse_set(struct path_parser *p, unsigned char *set)
{
    p->at++;
    bool negate = is_at(p, '^');
    p->at += negate;
    while (!is_at(p, ']')) {
        size_t start = p->at;
        unsigned from, to;
        enum tg_err err = parse_set_byte(p, &from);
        if (err != TG_OK)
            return err;
        to = from;
        if (is_at(p, '-') && p->at + 1 < p->text.n && p->text.p[p->at + 1] != ']') {
            p->at++;
            err = parse_set_byte(p, &to);
            if (err != TG_OK)
                return err;
        }
        if (from > to)
            return fail(p->problem, start, "this range is empty", "write the lower end first");
        for (unsigned b = from; b <= to; b++)
            set_add(set, b);
    }
    p->at++;
    for (unsigned i = 0; negate && i < TG_ROUTE_SET_BYTES; i++)
        set[i] = (unsigned char)~set[i];
    if (!is_at(p, '+'))
        return fail(p->problem, p->at, "expected + after the set", "write it as in {id:[a-z]+}");
    p->at++;
    return TG_OK;
}

static unsigned set_size(const unsigned char *set)
{
    unsigned size = 0;
    for (unsigned i = 0; i < TG_ROUTE_SET_BYTES; i++)
        size += (unsigned)__builtin_popcount(set[i]);
    return size;
}

/* ":int" or ":[set]+" behind a parameter's name, into the key. */
static enum tg_err parse_constraint(struct path_parser *p)
{
    unsigned char set[TG_ROUTE_SET_BYTES] = {0};
    size_t start = p->at;
    enum tg_err err = TG_OK;
    if (tg_str_starts(tg_str_sub(p->text, p->at, p->text.n), TG_STR("int"))) {
        for (unsigned b = '0'; b <= '9'; b++)
            set_add(set, b);
        p->at += 3;
    } else if (is_at(p, '[')) {
        err = parse_set(p, set);
    } else {
        return fail(p->problem, p->at, "not a constraint", "one of {id:int}, {id:[a-z0-9]+}");
    }
    if (err != TG_OK)
        return err;
    set['/' >> 3] &= (unsigned char)~(1u << ('/' & 7)); /* a segment has none */
    unsigned size = set_size(set);
    if (size == 0)
        return fail(p->problem, start, "no segment can match this set", "name some bytes");
    put(&p->out->key, TG_ROUTE_KEY_SET);
    put(&p->out->key, size >> 8);
    put(&p->out->key, size & 0xff);
    for (unsigned i = 0; i < TG_ROUTE_SET_BYTES; i++)
        put(&p->out->key, set[i]);
    return TG_OK;
}

static bool name_is_taken(const struct tg_route_path *path, struct tg_str name)
{
    for (size_t i = 0; i < path->names_n; i += 1 + (unsigned char)path->names[i]) {
        if (tg_str_eq(tg_str(path->names + i + 1, (unsigned char)path->names[i]), name))
            return true;
    }
    return false;
}

static enum tg_err parse_name(struct path_parser *p)
{
    struct tg_route_path *out = p->out;
    size_t start = p->at;
    while (p->at < p->text.n && (is_alnum(p->text.p[p->at]) || p->text.p[p->at] == '_'))
        p->at++;
    struct tg_str name = tg_str_sub(p->text, start, p->at);
    if (name.n == 0 || is_digit(name.p[0]) || name.n > TG_ROUTE_NAME_MAX)
        return fail(p->problem, start, "a parameter's name is 1 to 64 letters, digits and _",
                    "write it as in {user_id}");
    if (name_is_taken(out, name))
        return fail(p->problem, start, "this name is used twice", "name each parameter once");
    if (out->captures == TG_ROUTE_CAPTURES_MAX)
        return fail(p->problem, start, "more than 16 parameters", "use {rest...} for the last");
    out->names[out->names_n] = (char)name.n;
    memcpy(out->names + out->names_n + 1, name.p, name.n);
    out->names_n += 1 + name.n;
    out->captures++;
    return TG_OK;
}

/* "{name}", "{name:constraint}" or "{name...}"; `*rest` tells whether it was the last form. */
static enum tg_err parse_parameter(struct path_parser *p, bool *rest)
{
    struct tg_route_key *key = &p->out->key;
    p->at++;
    enum tg_err err = parse_name(p);
    if (err != TG_OK)
        return err;
    *rest = tg_str_starts(tg_str_sub(p->text, p->at, p->text.n), TG_STR("..."));
    if (*rest) {
        p->at += 3;
        put(key, TG_ROUTE_KEY_REST);
    } else if (is_at(p, ':')) {
        p->at++;
        err = parse_constraint(p);
        if (err != TG_OK)
            return err;
    } else {
        put(key, TG_ROUTE_KEY_FREE);
    }
    if (!is_at(p, '}'))
        return fail(p->problem, p->at, "expected }", "a parameter ends with }");
    p->at++;
    if (!at_segment_end(p))
        return fail(p->problem, p->at, "a parameter takes a whole segment",
                    "write /{name}/, without text before or after it in the segment");
    return TG_OK;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = tg_char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_unreserved(char c) /* RFC 3986, 2.3 */
{
    return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static void put_escape(struct tg_route_key *key, unsigned byte)
{
    static const char digits[] = "0123456789ABCDEF";
    put(key, '%');
    put(key, (unsigned char)digits[byte >> 4 & 15]);
    put(key, (unsigned char)digits[byte & 15]);
}

/* "%41" as requests bring it: decoded where it is unreserved, else with upper-case digits. */
static enum tg_err parse_escape(struct path_parser *p)
{
    int high = p->at + 2 < p->text.n ? hex_value(p->text.p[p->at + 1]) : -1;
    int low = p->at + 2 < p->text.n ? hex_value(p->text.p[p->at + 2]) : -1;
    if (high < 0 || low < 0)
        return fail(p->problem, p->at, "% begins an escape of two hex digits",
                    "write %25 for the character itself");
    unsigned byte = (unsigned)(high * 16 + low);
    if (byte == 0)
        return fail(p->problem, p->at, "no request path holds a NUL", "leave it out");
    if (is_unreserved((char)byte))
        put(&p->out->key, byte);
    else
        put_escape(&p->out->key, byte);
    p->at += 3;
    return TG_OK;
}

/* One character of plain text. */
static enum tg_err parse_char(struct path_parser *p)
{
    const char *c = p->text.p + p->at;
    size_t n = tg_utf8_len(c, p->text.n - p->at);
    if (*c == '%')
        return parse_escape(p);
    if (n == 0 || (unsigned char)*c <= ' ' || *c == 0x7f)
        return fail(p->problem, p->at, "this byte cannot be in a path",
                    "paths are UTF-8; write other bytes percent-encoded, as in %20");
    if (*c == '?' || *c == '#')
        return fail(p->problem, p->at, "a path pattern holds no query and no fragment",
                    "write ? and # percent-encoded when they are meant as such");
    if (*c == '*' || *c == '{' || *c == '}')
        return fail(p->problem, p->at, "*, { and } have a meaning of their own here",
                    "write /* at the end for all below, {name} for a whole segment");
    if (n == 1)
        put(&p->out->key, (unsigned char)*c);
    for (size_t i = 0; n > 1 && i < n; i++)
        put_escape(&p->out->key, (unsigned char)c[i]);
    p->at += n;
    return TG_OK;
}

/* A segment of plain text. */
static enum tg_err parse_text(struct path_parser *p)
{
    const struct tg_route_key *key = &p->out->key;
    size_t start = p->at, from = key->n;
    while (!at_segment_end(p)) {
        enum tg_err err = parse_char(p);
        if (err != TG_OK)
            return err;
    }
    struct tg_str segment = tg_str((const char *)key->p + from, key->n - from);
    if (tg_str_eq(segment, TG_STR(".")) || tg_str_eq(segment, TG_STR("..")))
        return fail(p->problem, start, "no request path holds this segment",
                    "dot segments are removed before a request is routed");
    return TG_OK;
}

/* True when the text ends here in "*", alone in its segment; the slash before it is in the key. */
static bool take_prefix(struct path_parser *p)
{
    if (!is_at(p, '*') || p->at + 1 != p->text.n)
        return false;
    p->at++;
    p->out->key.p[p->out->key.n - 1] = TG_ROUTE_KEY_PREFIX;
    return true;
}

/* ---- Regular expressions ------------------------------------------------------------------- */

/* Moves `*at` from the "[" of a set to its "]"; false when that is not told for certain. */
static bool skip_set(struct tg_str s, size_t *at)
{
    size_t i = *at + 1;
    i += i < s.n && s.p[i] == '^';
    i += i < s.n && s.p[i] == ']';
    for (; i < s.n && s.p[i] != ']'; i++) {
        if (s.p[i] == '\\') {
            i++;
        } else if (s.p[i] == '[' && i + 1 < s.n && s.p[i + 1] == ':') {
            for (i += 2; i < s.n && (is_alnum(s.p[i]) || s.p[i] == '^');)
                i++;
            if (!tg_str_starts(tg_str_sub(s, i, s.n), TG_STR(":]")))
                return false;
            i++;
        }
    }
    *at = i;
    return true;
}

/* True when the whole expression may be one of several branches, so that its beginning says nothing
 * of what matches. What makes a bracket count for nothing (quoting, comments, \c) is taken for
 * that.
 */
static bool may_branch(struct tg_str s)
{
    size_t depth = 0;
    if (memmem(s.p, s.n, "\\Q", 2) != NULL || memmem(s.p, s.n, "\\c", 2) != NULL)
        return true;
    if (memmem(s.p, s.n, "\\E", 2) !=
        NULL) /* is nothing: what follows may repeat what was before */
        return true;
    for (size_t at = 0; at < s.n; at++) {
        char c = s.p[at];
        bool special = c == '(' && at + 2 < s.n && s.p[at + 1] == '?';
        if (special && (s.p[at + 2] == '\0' || strchr(":=!<>P|", s.p[at + 2]) == NULL))
            return true; /* options, a comment, a conditional */
        if (c == '\\')
            at++;
        else if (c == '[' && !skip_set(s, &at))
            return true;
        else if (c == '(')
            depth++;
        else if (c == ')' && depth > 0)
            depth--;
        else if (c == '|' && depth == 0)
            return true;
    }
    return false;
}

/* Puts the literal text that every match begins with into the key. `s` stands behind the "^". */
static void put_literal(struct tg_route_key *key, struct tg_str s)
{
    size_t at = 0;
    if (may_branch(s))
        return;
    while (at < s.n) {
        bool escaped = s.p[at] == '\\';
        char c = s.p[at];
        if (escaped)
            c = at + 1 < s.n ? s.p[at + 1] : '\0';
        bool literal = escaped ? c > ' ' && c < 0x7f && !is_alnum(c) : is_unreserved(c) && c != '.';
        if (!literal && (escaped || c == '\0' || strchr("/%!&',;=:@\"<>", c) == NULL))
            return;
        at += escaped ? 2 : 1;
        if (at < s.n && strchr("?*{", s.p[at]) != NULL)
            return; /* perhaps not at all */
        put(key, (unsigned char)c);
        if (at < s.n && s.p[at] == '+')
            return;
    }
}

/* "~^/v(\d+)/": the key says where the expression stands and what it is. */
static enum tg_err parse_regex(struct path_parser *p)
{
    struct tg_str regex = tg_str_sub(p->text, 1, p->text.n);
    struct tg_route_key *key = &p->out->key;
    if (!tg_str_starts(regex, TG_STR("^")))
        return fail(p->problem, 1, "a regular expression of a path begins with ~^",
                    "it is matched from the start of the path: \"~^/v(\\\\d+)/\"");
    for (size_t i = 0; i < regex.n; i++) {
        if ((unsigned char)regex.p[i] < ' ' || (unsigned char)regex.p[i] >= 0x7f)
            return fail(p->problem, 1 + i, "no request path holds this byte",
                        "paths arrive percent-encoded: write %C3%A9 for an accented e");
    }
    put_literal(key, tg_str_sub(regex, 1, regex.n));
    put(key, TG_ROUTE_KEY_REGEX);
    put(key, (unsigned)(65535 - regex.n) >> 8);
    put(key, (unsigned)(65535 - regex.n) & 0xff);
    for (size_t i = 0; i < regex.n; i++)
        put(key, (unsigned char)regex.p[i]);
    p->out->regex = regex;
    return TG_OK;
}

enum tg_err tg_route_path_parse(struct tg_str pattern, struct tg_route_path *out,
                                struct tg_route_problem *problem)
{
    struct path_parser p = {.text = pattern, .out = out, .problem = problem};
    out->key.n = 0;
    out->regex = tg_str(NULL, 0);
    out->captures = 0;
    out->names_n = 0;
    if (pattern.n > TG_ROUTE_PATH_MAX)
        return fail(problem, TG_ROUTE_PATH_MAX, "longer than 1024 bytes", "shorten it");
    if (is_at(&p, '~'))
        return parse_regex(&p);
    if (!is_at(&p, '/'))
        return fail(problem, 0, "a path begins with /", "write it as in /orders/*");
    while (is_at(&p, '/')) {
        bool rest = false;
        put(&out->key, '/');
        p.at++;
        if (take_prefix(&p))
            return TG_OK;
        enum tg_err err = is_at(&p, '{') ? parse_parameter(&p, &rest) : parse_text(&p);
        if (err != TG_OK)
            return err;
        if (rest && p.at < pattern.n)
            return fail(problem, p.at, "{name...} takes all the rest", "let it come last");
        if (rest)
            return TG_OK;
    }
    put(&out->key, TG_ROUTE_KEY_EXACT);
    return TG_OK;
}
