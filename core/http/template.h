/* template.h: text with {name} parts that a configuration gives and a request fills in.
 *
 *     "/users/{id}/orders"   kinds PATH, QUERY, HOST: every brace opens a part
 *     "<h1>{status}</h1>"    kind BODY: only {word} is a part, other braces are text, "{{" is "{"
 *
 * Parsing happens when the configuration is loaded, so a template that is in force cannot be
 * malformed. Which names there are is the caller's business: captures of a route's pattern, or
 * facts of an answer.
 *
 * What a request fills in is written by the functions below, each of which escapes for one place:
 * a value can end neither the part of the message it stands in, nor begin another.
 *
 * Pure functions: no state, no allocation but what the builder does.
 */
#ifndef TG_HTTP_TEMPLATE_H
#define TG_HTTP_TEMPLATE_H

#include "base/err.h"
#include "base/fmt.h"

#define TG_TEMPLATE_PARTS_MAX  64
#define TG_TEMPLATE_TEXT_MAX   65536 /* bytes of a body; of the other kinds: _TARGET_MAX */
#define TG_TEMPLATE_TARGET_MAX 2048

enum tg_template_kind {
    TG_TEMPLATE_PATH,  /* begins with "/", no dot segments */
    TG_TEMPLATE_QUERY, /* without "?"; may be empty */
    TG_TEMPLATE_HOST,  /* a name, perhaps with a port */
    TG_TEMPLATE_BODY,
};

struct tg_template_part {
    struct tg_str text; /* as it is written, or the name between the braces; borrowed */
    bool is_name;
};

/* What is wrong with a template, and what to write instead. Static texts. */
struct tg_template_problem {
    const char *text;
    const char *hint;
    size_t at; /* offset in the template */
};

/* The parsed form; slices of the text that was parsed. */
struct tg_template_parts {
    struct tg_template_part v[TG_TEMPLATE_PARTS_MAX];
    uint32_t n;
};

/* Parses `text`; TG_E_INVALID with `*problem` set when it is no template of that kind. */
enum tg_err tg_template_parse(enum tg_template_kind kind, struct tg_str text,
                              struct tg_template_parts *out,
                              struct tg_template_problem *problem) TG_MUST_USE;

/* How a value is escaped in a body. PLAIN is for all types without rules of their own. */
enum tg_template_escape { TG_ESCAPE_PLAIN, TG_ESCAPE_MARKUP, TG_ESCAPE_JSON };

/* From a Content-Type: HTML and XML are markup; application/json and any +json are JSON. */
enum tg_template_escape tg_template_escape_for(struct tg_str type);

/* Appends a value of a body: entities in markup; the inside of a string in JSON; else
 * percent-encoded but for letters, digits, blanks and marks that mean nothing to a browser. Bytes
 * that are no valid UTF-8 become "?" in JSON and markup. */
void tg_template_put_body(struct tg_fmt *f, struct tg_str value, enum tg_template_escape escape);

/* Appends a part of an encoded path. What was encoded stays encoded; whatever may not stand in a
 * path is encoded. Slashes that `value` has stay. */
void tg_template_put_path(struct tg_fmt *f, struct tg_str value);

/* Appends a part of an encoded path to a query: decoded, and encoded anew but for unreserved
 * characters, so that it is one value whatever it holds. */
void tg_template_put_query(struct tg_fmt *f, struct tg_str value);

/* Appends a value to a host: letters, digits, "-", "_" and "."; latches failure at another byte. */
void tg_template_put_host(struct tg_fmt *f, struct tg_str value);

/* True when a segment of the path is "." or "..", in any spelling. */
bool tg_path_has_dots(struct tg_str path);

#endif
