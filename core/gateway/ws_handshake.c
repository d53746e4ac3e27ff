/* ws_handshake.c: how a WebSocket that is inspected begins, towards client and origin: see ws.h.
 *
 * A wish for another protocol than WebSocket is not passed on from here: its bytes could not be
 * looked at, and the request is good without it (RFC 9110, 7.8). */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/ws.h"

#define NAME_KEY        TG_STR("Sec-WebSocket-Key")
#define NAME_VERSION    TG_STR("Sec-WebSocket-Version")
#define NAME_ACCEPT     TG_STR("Sec-WebSocket-Accept")
#define NAME_PROTOCOL   TG_STR("Sec-WebSocket-Protocol")
#define NAME_EXTENSIONS TG_STR("Sec-WebSocket-Extensions")

static bool is_inspected(const struct tg_request *r)
{
    return r->route->websocket != NULL || r->chains->phase[TG_PHASE_MESSAGE].n > 0;
}

/* The value of a field that may stand there once; p == NULL: it is not there, or more often. */
static struct tg_str only(const struct tg_fields *fields, struct tg_str name)
{
    const struct tg_field *field = tg_fields_find(fields, name);
    if (field == NULL || tg_fields_next(fields, name, field) != NULL)
        return tg_str(NULL, 0);
    return field->value;
}

/* What is wrong with the client's handshake; NULL: nothing. `*status`: the answer to it. */
static const char *check_request(const struct tg_request *r, unsigned *status)
{
    struct tg_str key = only(&r->in.fields, NAME_KEY);
    struct tg_str version = only(&r->in.fields, NAME_VERSION);
    *status = 400;
    if (r->in.method != TG_METHOD_GET)
        return "a WebSocket begins with a GET";
    if (key.p == NULL || !tg_ws_key_is_valid(key))
        return "Sec-WebSocket-Key must be there once: 16 bytes in base 64";
    *status = 426;
    if (version.p == NULL || !tg_str_eq(version, TG_STR("13")))
        return "Sec-WebSocket-Version must be 13";
    return NULL;
}

/* Puts the gateway's own key in place of what the client asked for. */
static enum tg_err write_fields(struct tg_ws *ws)
{
    struct tg_request *r = ws->r;
    struct tg_fields *fields = &r->out.fields;
    char key[TG_WS_KEY_TEXT];
    tg_ws_make_key(key);
    tg_ws_make_accept(tg_str(key, sizeof(key)), ws->accept);
    struct tg_str copy = tg_arena_copy(&r->arena, tg_str(key, sizeof(key)));
    enum tg_err err = copy.p != NULL ? tg_forward_fields(r) : TG_E_NOMEM;
    if (err != TG_OK)
        return err;
    tg_fields_remove(fields, NAME_EXTENSIONS);
    tg_fields_remove(fields, NAME_ACCEPT);
    err = tg_fields_set(fields, NAME_KEY, copy);
    return err == TG_OK ? tg_fields_set(fields, NAME_VERSION, TG_STR("13")) : err;
}

bool tg_ws_may_go_by_connect(const struct tg_request *r)
{
    const struct tg_field *upgrade = tg_fields_find_id(&r->in.fields, TG_FIELD_UPGRADE);
    struct tg_str key = only(&r->in.fields, NAME_KEY);
    return r->out.method == TG_METHOD_GET && r->in.framing == TG_FRAMING_NONE && !r->out.body_set &&
           key.p != NULL && tg_ws_key_is_valid(key) &&
           (r->ws != NULL ||
            (upgrade != NULL && tg_str_eq_nocase(upgrade->value, TG_STR("websocket"))));
}

static struct tg_ws *make(struct tg_request *r)
{
    struct tg_ws *ws = tg_arena_zalloc(&r->arena, sizeof(*ws));
    if (ws == NULL)
        return NULL;
    struct tg_slab *slab = r->gate->worker->slab;
    ws->r = r;
    ws->conf = r->route->websocket != NULL ? r->route->websocket : &tg_websocket_defaults;
    ws->client.conf = &ws->conf->from_client;
    ws->client.name = "client";
    ws->origin.conf = &ws->conf->from_origin;
    ws->origin.name = "origin";
    tg_ws_reader_init(&ws->client.reader, slab, true, ws->client.conf->max_message);
    tg_ws_reader_init(&ws->origin.reader, slab, false, ws->origin.conf->max_message);
    tg_buf_init(&ws->client.held, slab);
    tg_buf_init(&ws->origin.held, slab);
    tg_buf_init(&ws->out, slab);
    tg_buf_init(&ws->backlog, slab);
    return ws;
}

bool tg_ws_begin(struct tg_request *r)
{
    unsigned status;
    if (!r->out.upgrade || !is_inspected(r))
        return true;
    if (!tg_fields_list_has(&r->in.fields, TG_FIELD_UPGRADE, TG_STR("websocket"))) {
        r->out.upgrade = false;
        return true;
    }
    const char *wrong = check_request(r, &status);
    if (wrong != NULL) {
        tg_answer_websocket(r, status, wrong);
        return false;
    }
    r->ws = make(r);
    if (r->ws == NULL || write_fields(r->ws) != TG_OK) {
        tg_answer_error(r, 503, "no_resources");
        return false;
    }
    r->ws->key = only(&r->in.fields, NAME_KEY);
    return true;
}

enum tg_err tg_ws_renew_handshake(struct tg_ws *ws)
{
    struct tg_fields *fields = &ws->r->out.fields;
    enum tg_err err = write_fields(ws);
    if (err == TG_OK && ws->protocol.p == NULL)
        tg_fields_remove(fields, NAME_PROTOCOL);
    else if (err == TG_OK)
        err = tg_fields_set(fields, NAME_PROTOCOL, ws->protocol);
    return err;
}

/* Whether the client offered the protocol, in one line or another; names differ by case. */
static bool is_offered(const struct tg_request *r, struct tg_str protocol)
{
    const struct tg_fields *fields = &r->out.fields;
    const struct tg_field *field = tg_fields_find(fields, NAME_PROTOCOL);
    for (; field != NULL; field = tg_fields_next(fields, NAME_PROTOCOL, field)) {
        struct tg_str list = field->value;
        struct tg_str item;
        while (tg_str_next_item(&list, &item)) {
            if (tg_str_eq(item, protocol))
                return true;
        }
    }
    return false;
}

const char *tg_ws_check_answer(struct tg_request *r, const struct tg_response_head *head)
{
    struct tg_ws *ws = r->ws;
    const struct tg_field *protocol = tg_fields_find(&head->fields, NAME_PROTOCOL);
    struct tg_str accept = only(&head->fields, NAME_ACCEPT);
    if (head->status != 101)
        return "origin: no WebSocket any more";
    if (!tg_fields_list_has(&head->fields, TG_FIELD_UPGRADE, TG_STR("websocket")))
        return "origin: 101 to another protocol than WebSocket";
    if (accept.p == NULL || !tg_str_eq(accept, tg_str(ws->accept, sizeof(ws->accept))))
        return "origin: Sec-WebSocket-Accept does not fit the key";
    if (tg_fields_find(&head->fields, NAME_EXTENSIONS) != NULL)
        return "origin: a WebSocket extension that nobody offered";
    if (protocol != NULL && tg_fields_next(&head->fields, NAME_PROTOCOL, protocol) != NULL)
        return "origin: more than one WebSocket protocol";
    if (protocol != NULL && !is_offered(r, protocol->value))
        return "origin: a WebSocket protocol that nobody offered";
    if (ws->state == TG_WS_STATE_REOPENING)
        return protocol != NULL || ws->protocol.p == NULL
                   ? NULL
                   : "origin: the WebSocket protocol agreed on is not spoken any more";
    ws->protocol = protocol != NULL ? tg_arena_copy(&r->arena, protocol->value) : ws->protocol;
    return NULL;
}

enum tg_err tg_ws_dress_answer(struct tg_request *r)
{
    char accept[TG_WS_ACCEPT_TEXT];
    enum tg_err err = tg_fields_copy(&r->upstream.fields, &r->resp.fields);
    if (err != TG_OK)
        return err;
    tg_ws_make_accept(r->ws->key, accept);
    struct tg_str copy = tg_arena_copy(&r->arena, tg_str(accept, sizeof(accept)));
    return copy.p != NULL ? tg_fields_set(&r->resp.fields, NAME_ACCEPT, copy) : TG_E_NOMEM;
}
