/* template.c: see template.h. */
#include "base/banned.h"
#include "http/template.h"

#include "base/json.h"
#include "base/utf8.h"
#include "http/token.h"

/* ---- Parsing -----------------------------------------------------------------------------------
 */

static enum tg_err refuse(struct tg_template_problem *problem, size_t at, const char *text,
                          const char *hint)
{
    *problem = (struct tg_template_problem){text, hint, at};
    return TG_E_INVALID;
}

static bool is_word(char c)
{
    return tg_char_is(c, TG_CHAR_UNRESERVED) && c != '-' && c != '.' && c != '~';
}

/* End of the word that begins at `at`. */
static size_t word_end(struct tg_str text, size_t at)
{
    while (at < text.n && is_word(text.p[at]))
        at++;
    return at;
}

/* A part "{word}" at `at`: the offset behind it, or 0 when there is none. */
static size_t part_end(struct tg_str text, size_t at)
{
    size_t end = word_end(text, at + 1);
    return end > at + 1 && end < text.n && text.p[end] == '}' ? end + 1 : 0;
}

static bool add_part(struct tg_template_parts *out, struct tg_str text, bool is_name)
{
    if (text.n == 0)
        return true;
    if (out->n == TG_TEMPLATE_PARTS_MAX)
        return false;
    out->v[out->n++] = (struct tg_template_part){text, is_name};
    return true;
}

static enum tg_err split(enum tg_template_kind kind, struct tg_str text,
                         struct tg_template_parts *out, struct tg_template_problem *problem)
{
    size_t from = 0;
    size_t at = 0;
    bool fits = true;
    while (fits && at < text.n) {
        if (text.p[at] != '{') {
            at++;
            continue;
        }
        size_t end = part_end(text, at);
        bool doubled = kind == TG_TEMPLATE_BODY && at + 1 < text.n && text.p[at + 1] == '{';
        if (end == 0 && kind != TG_TEMPLATE_BODY)
            return refuse(problem, at, "has a brace that begins no part",
                          "a part is the name of a capture in braces: {id}; a brace itself is %7B");
        if (doubled) { /* one brace stays text, the other goes */
            fits = add_part(out, tg_str_sub(text, from, at + 1), false);
            from = at = at + 2;
        } else if (end > 0) {
            fits = add_part(out, tg_str_sub(text, from, at), false) &&
                   add_part(out, tg_str_sub(text, at + 1, end - 1), true);
            from = at = end;
        } else {
            at++;
        }
    }
    if (!fits || !add_part(out, tg_str_sub(text, from, text.n), false))
        return refuse(problem, at, "has too many parts", "at most 64, text between them included");
    return TG_OK;
}

/* Whether an escape of two hexadecimal digits begins at `at`. */
static bool is_escape(struct tg_str s, size_t at)
{
    return s.p[at] == '%' && at + 2 < s.n && tg_char_is(s.p[at + 1], TG_CHAR_HEX) &&
           tg_char_is(s.p[at + 2], TG_CHAR_HEX);
}

/* Where a byte of the fixed text stands that the kind does not allow; text.n: none. */
static size_t wrong_byte(enum tg_template_kind kind, struct tg_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool good = kind == TG_TEMPLATE_HOST
                        ? tg_char_is(c, TG_CHAR_UNRESERVED) || c == ':' || c == '[' || c == ']'
                        : tg_char_is(c, TG_CHAR_TARGET);
        if (kind == TG_TEMPLATE_PATH && c == '?')
            good = false;
        if (!good || (c == '%' && !is_escape(text, i)) || c == '}' || c == '\\')
            return i;
    }
    return text.n;
}

static enum tg_err check_text(enum tg_template_kind kind, struct tg_str whole,
                              const struct tg_template_parts *parts,
                              struct tg_template_problem *problem)
{
    static const char *const hints[] = {
        [TG_TEMPLATE_PATH] = "a path without query; blanks and the like percent-encoded: %20",
        [TG_TEMPLATE_QUERY] = "name=value&name=value, blanks and the like percent-encoded: %20",
        [TG_TEMPLATE_HOST] = "a host name, perhaps with a port: api.example.test:8443",
    };
    for (uint32_t i = 0; i < parts->n; i++) {
        const struct tg_template_part *part = &parts->v[i];
        size_t at = part->is_name ? part->text.n : wrong_byte(kind, part->text);
        if (at < part->text.n)
            return refuse(problem, (size_t)(part->text.p - whole.p) + at,
                          "has a character that may not stand there", hints[kind]);
    }
    return TG_OK;
}

enum tg_err tg_template_parse(enum tg_template_kind kind, struct tg_str text,
                              struct tg_template_parts *out, struct tg_template_problem *problem)
{
    size_t most = kind == TG_TEMPLATE_BODY ? TG_TEMPLATE_TEXT_MAX : TG_TEMPLATE_TARGET_MAX;
    out->n = 0;
    if (text.n > most)
        return refuse(problem, most, "is too long",
                      kind == TG_TEMPLATE_BODY ? "at most 64 KiB" : "at most 2048 bytes");
    if (kind == TG_TEMPLATE_PATH && (text.n == 0 || text.p[0] != '/'))
        return refuse(problem, 0, "does not begin with a slash", "write it as in /v2/{id}");
    if (kind == TG_TEMPLATE_HOST && text.n == 0)
        return refuse(problem, 0, "is empty", "a host name: api.example.test");
    enum tg_err err = split(kind, text, out, problem);
    if (err != TG_OK || kind == TG_TEMPLATE_BODY)
        return err;
    if (kind == TG_TEMPLATE_PATH && tg_path_has_dots(text))
        return refuse(problem, 0, "has a segment that is \".\" or \"..\"", "write the path out");
    return check_text(kind, text, out, problem);
}

/* ---- Values ------------------------------------------------------------------------------------
 */

enum tg_template_escape tg_template_escape_for(struct tg_str type)
{
    struct tg_str bare = tg_str_trim(tg_str_sub(type, 0, tg_str_find(type, ';', 0)));
    struct tg_str subtype = tg_str_sub(bare, tg_str_find(bare, '/', 0) + 1, bare.n);
    struct tg_str suffix = subtype;
    for (size_t at = 0; at < subtype.n; at++) {
        if (subtype.p[at] == '+')
            suffix = tg_str_sub(subtype, at + 1, subtype.n);
    }
    if (tg_str_eq_nocase(suffix, TG_STR("json")))
        return TG_ESCAPE_JSON;
    if (tg_str_eq_nocase(suffix, TG_STR("html")) || tg_str_eq_nocase(suffix, TG_STR("xml")))
        return TG_ESCAPE_MARKUP;
    return TG_ESCAPE_PLAIN;
}

static void put_escaped(struct tg_fmt *f, char c)
{
    unsigned char byte = (unsigned char)c;
    tg_fmt_char(f, '%');
    tg_fmt_char(f, "0123456789ABCDEF"[byte >> 4]);
    tg_fmt_char(f, "0123456789ABCDEF"[byte & 15]);
}

static void put_markup(struct tg_fmt *f, struct tg_str value)
{
    for (size_t i = 0; i < value.n;) {
        size_t n = tg_utf8_len(value.p + i, value.n - i);
        char c = value.p[i];
        bool blank = c == ' ' || c == '\t' || c == '\n';
        if (n > 1)
            tg_fmt_bytes(f, value.p + i, n);
        else if (n == 0 || (((unsigned char)c < 0x20 || c == 0x7f) && !blank))
            tg_fmt_char(f, '?');
        else if (strchr("&<>\"'`", c) != NULL)
            tg_fmt_printf(f, "&#%d;", c);
        else
            tg_fmt_char(f, c);
        i += n > 0 ? n : 1;
    }
}

static void put_plain(struct tg_fmt *f, struct tg_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        bool good =
            tg_char_is(c, TG_CHAR_UNRESERVED) || c == ' ' || (c != '\0' && strchr("%/:,;=@+", c));
        if (good)
            tg_fmt_char(f, c);
        else
            put_escaped(f, c);
    }
}

void tg_template_put_body(struct tg_fmt *f, struct tg_str value, enum tg_template_escape escape)
{
    if (escape == TG_ESCAPE_JSON)
        tg_json_text(f, value);
    else if (escape == TG_ESCAPE_MARKUP)
        put_markup(f, value);
    else
        put_plain(f, value);
}

void tg_template_put_path(struct tg_fmt *f, struct tg_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        bool good = tg_char_is(c, TG_CHAR_UNRESERVED) || is_escape(value, i) ||
                    (c != '\0' && strchr("/:@!$&'()*+,;=", c) != NULL); /* pchar: RFC 3986, 3.3 */
        if (good)
            tg_fmt_char(f, c);
        else
            put_escaped(f, c);
    }
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

void tg_template_put_query(struct tg_fmt *f, struct tg_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (is_escape(value, i)) {
            c = (char)(digit(value.p[i + 1]) * 16 + digit(value.p[i + 2]));
            i += 2;
        }
        if (tg_char_is(c, TG_CHAR_UNRESERVED))
            tg_fmt_char(f, c);
        else
            put_escaped(f, c);
    }
}

void tg_template_put_host(struct tg_fmt *f, struct tg_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (!tg_char_is(value.p[i], TG_CHAR_UNRESERVED) || value.p[i] == '~')
            f->failed = true;
    }
    tg_fmt_add(f, value);
}

/* How many dots a segment is made of, encoded ones included; 0 when of anything else. */
static unsigned dots_of(struct tg_str segment)
{
    unsigned dots = 0;
    for (size_t i = 0; i < segment.n; i++) {
        bool encoded =
            is_escape(segment, i) && segment.p[i + 1] == '2' && (segment.p[i + 2] | 0x20) == 'e';
        if (segment.p[i] != '.' && !encoded)
            return 0;
        i += encoded ? 2 : 0;
        dots++;
    }
    return dots;
}

bool tg_path_has_dots(struct tg_str path)
{
    for (size_t begin = 0; begin < path.n;) {
        size_t end = tg_str_find(path, '/', begin);
        unsigned dots = dots_of(tg_str_sub(path, begin, end));
        if (dots == 1 || dots == 2)
            return true;
        begin = end + 1;
    }
    return false;
}
