/* h2_client_fields.c: see h2_client_fields.h. */
#include "base/banned.h"
#include "http/h2_client_fields.h"

#include "base/assert.h"
#include "http/ws.h"

#define NAME_KEY    TG_STR("sec-websocket-key")
#define NAME_ACCEPT TG_STR("sec-websocket-accept")

/* ---- Requests ----------------------------------------------------------------------------------
 */

/* Takes the text up to `stop` and what separates it from the rest, `skip` bytes. */
static struct tg_str take_until(struct tg_str *rest, char stop, size_t skip)
{
    size_t end = tg_str_find(*rest, stop, 0);
    tg_assert(end < rest->n);
    struct tg_str taken = tg_str_sub(*rest, 0, end);
    *rest = tg_str_sub(*rest, end + skip, rest->n);
    return taken;
}

/* The next field line, true; false at the empty line. */
static bool take_field(struct tg_str *rest, struct tg_str *name, struct tg_str *value)
{
    struct tg_str line = take_until(rest, '\r', 2);
    if (line.n == 0)
        return false;
    *name = take_until(&line, ':', 1);
    *value = tg_str_trim(line);
    return true;
}

static struct tg_str find(struct tg_str fields, struct tg_str wanted)
{
    struct tg_str name;
    struct tg_str value;
    while (take_field(&fields, &name, &value)) {
        if (tg_str_eq_nocase(name, wanted))
            return value;
    }
    return TG_STR("");
}

struct tg_str tg_h2_text_key(struct tg_str text)
{
    take_until(&text, '\r', 2);
    return find(text, NAME_KEY);
}

static void add_crumbs(struct tg_h2_nva *nva, struct tg_str cookie)
{
    while (cookie.n > 0) {
        size_t end = tg_str_find(cookie, ';', 0);
        struct tg_str crumb = tg_str_trim(tg_str_sub(cookie, 0, end));
        if (crumb.n > 0)
            tg_h2_nva_add(nva, TG_STR("cookie"), crumb);
        cookie = tg_str_sub(cookie, TG_MIN(end + 1, cookie.n), cookie.n);
    }
}

static bool names_trailers(struct tg_str list)
{
    struct tg_str item;
    while (tg_str_next_item(&list, &item)) {
        if (tg_str_eq_nocase(item, TG_STR("trailers")))
            return true;
    }
    return false;
}

static void add_field(struct tg_h2_nva *nva, struct tg_str name, struct tg_str value)
{
    enum tg_field_id id = tg_field_id(name);
    if (id == TG_FIELD_COOKIE)
        add_crumbs(nva, value);
    else if (id == TG_FIELD_TE && names_trailers(value))
        tg_h2_nva_add(nva, TG_STR("te"), TG_STR("trailers"));
    else if (id != TG_FIELD_HOST && id != TG_FIELD_TE && !tg_h2_field_is_forbidden(id))
        tg_h2_nva_add(nva, name, value);
}

void tg_h2_nva_request(struct tg_h2_nva *nva, struct tg_str text, struct tg_str scheme, bool tunnel)
{
    struct tg_str name;
    struct tg_str value;
    struct tg_str method = take_until(&text, ' ', 1);
    struct tg_str target = take_until(&text, ' ', 1);
    take_until(&text, '\r', 2);
    tg_h2_nva_add(nva, TG_STR(":method"), tunnel ? TG_STR("CONNECT") : method);
    if (tunnel)
        tg_h2_nva_add(nva, TG_STR(":protocol"), TG_STR("websocket"));
    if (tg_str_eq(method, TG_STR("CONNECT"))) {
        tg_h2_nva_add(nva, TG_STR(":authority"), target);
    } else {
        tg_h2_nva_add(nva, TG_STR(":scheme"), scheme);
        tg_h2_nva_add(nva, TG_STR(":authority"), find(text, TG_STR("host")));
        tg_h2_nva_add(nva, TG_STR(":path"), target);
    }
    while (take_field(&text, &name, &value)) {
        if (!tunnel || !tg_str_eq_nocase(name, NAME_KEY))
            add_field(nva, name, value);
    }
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

/* Three digits (RFC 9110, 15); 0: it is none. */
static uint16_t read_status(struct tg_str s)
{
    unsigned status = 0;
    if (s.n != 3)
        return 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        status = status * 10 + (unsigned)(s.p[i] - '0');
    }
    return status >= 100 ? (uint16_t)status : 0;
}

static bool has_other_pseudo(const struct tg_h2_block *block)
{
    for (int i = 0; i < TG_H2_PSEUDOS; i++) {
        if (i != TG_H2_STATUS && block->pseudo[i].p != NULL)
            return true;
    }
    return false;
}

/* Content-Length, once; false: it is no number, or two that differ. */
static bool read_length(struct tg_response_head *head)
{
    const struct tg_field *first = tg_fields_find_id(&head->fields, TG_FIELD_CONTENT_LENGTH);
    if (first == NULL)
        return true;
    if (!tg_str_to_u64(first->value, &head->length) || first->value.n > 18)
        return false;
    for (uint32_t i = 0; i < head->fields.n; i++) {
        const struct tg_field *field = &head->fields.v[i];
        if (field->id == TG_FIELD_CONTENT_LENGTH && !tg_str_eq(field->value, first->value))
            return false;
    }
    head->has_length = true;
    return true;
}

static enum tg_framing framing_of(const struct tg_response_head *head, enum tg_method method,
                                  bool ended)
{
    if (ended || head->status < 200 || head->status == 204 || head->status == 304 ||
        method == TG_METHOD_HEAD)
        return TG_FRAMING_NONE;
    return head->has_length ? TG_FRAMING_LENGTH : TG_FRAMING_CHUNKED;
}

bool tg_h2_block_response(struct tg_h2_block *block, enum tg_method method, bool ended,
                          struct tg_response_head *head, const char **why)
{
    *head = (struct tg_response_head){.minor = 1, .keep_alive = true, .fields = block->fields};
    head->status = read_status(block->pseudo[TG_H2_STATUS]);
    *why = NULL;
    if (block->refused)
        *why = block->refusal.status == 431 ? "origin: response head too large"
                                            : "origin: a malformed header field";
    else if (head->status == 0 || head->status == 101)
        *why = "origin: a status that is none in HTTP/2";
    else if (has_other_pseudo(block))
        *why = "origin: pseudo fields of a request in an answer";
    else if (head->status < 200 && ended)
        *why = "origin: an informational answer that ends the stream";
    else if (!read_length(head))
        *why = "origin: an invalid Content-Length";
    else if (ended && method != TG_METHOD_HEAD && head->status != 304 && head->length > 0)
        *why = "origin: a Content-Length without a body";
    head->framing = framing_of(head, method, ended);
    return *why == NULL;
}

enum tg_err tg_h2_head_switch(struct tg_response_head *head, struct tg_str key,
                              struct tg_arena *arena)
{
    char accept[TG_WS_ACCEPT_TEXT];
    struct tg_fields *fields = &head->fields;
    tg_ws_make_accept(key, accept);
    struct tg_str copy = tg_arena_copy(arena, tg_str(accept, sizeof(accept)));
    if (copy.p == NULL)
        return TG_E_NOMEM;
    head->status = 101;
    head->has_length = false;
    head->length = 0;
    head->framing = TG_FRAMING_NONE;
    tg_fields_remove(fields, TG_STR("content-length")); /* RFC 9110, 9.3.6 */
    enum tg_err err = tg_fields_set(fields, NAME_ACCEPT, copy);
    return err == TG_OK ? tg_fields_set(fields, TG_STR("upgrade"), TG_STR("websocket")) : err;
}
