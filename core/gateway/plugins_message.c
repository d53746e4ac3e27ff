/* plugins_message.c: the chain of the message phase: see plugins.h and ws.h.
 *
 * Messages of a WebSocket go the way of body chunks (plugins_chunk.c), but whole and one at a time.
 * `out` is empty where all plugins let one pass, so that it goes on as it came. What a plugin may
 * allocate begins anew with each.
 */
#include "base/banned.h"
#include "gateway/plugins_internal.h"

#include "base/assert.h"
#include "base/utf8.h"
#include "http/ws.h"

int tg_plugins_take_message(lua_State *L)
{
    const struct tg_request *r = tg_run_current(L)->host;
    tg_plugins_push_chunk(L, &r->plugins);
    lua_pushstring(L, r->plugins.message.text ? "text" : "binary");
    lua_pushstring(L, r->plugins.message.from_origin ? "origin" : "client");
    return 3;
}

static bool is_text(struct tg_str data)
{
    struct tg_utf8 text = {0};
    return tg_utf8_take(&text, data.p, data.n) && text.need == 0;
}

const char *tg_plugins_take_verdict(struct tg_plugin_run *p)
{
    lua_State *L = p->run.L;
    int at = -p->run.nresults;
    if (p->run.nresults == 0 || lua_isnil(L, at))
        return NULL;
    if (lua_isboolean(L, at) && !lua_toboolean(L, at)) {
        p->message.dropped = true;
        return NULL;
    }
    if (lua_type(L, at) != LUA_TSTRING)
        return "message returns nothing, a string or false";
    struct tg_str data;
    data.p = lua_tolstring(L, at, &data.n);
    if (data.n > p->message.max)
        return "message returned more than max_message allows";
    if (p->message.text && !is_text(data))
        return "message returned something else than UTF-8 for a text message";
    tg_plugins_drop_chunk(p);
    if (data.n == 0)
        p->chunk = TG_STR("");
    p->message.unchanged = false;
    return tg_buf_append(&p->chunk_buf, data.p, data.n) == TG_OK ? NULL : "no memory for a message";
}

enum tg_err tg_request_close_websocket(struct tg_request *r, uint16_t code, struct tg_str reason)
{
    struct tg_plugin_message *message = &r->plugins.message;
    if (!tg_ws_code_is_valid(code) || reason.n > TG_WS_REASON_MAX || !is_text(reason))
        return TG_E_INVALID;
    message->reason = tg_arena_copy(&r->arena, reason);
    if (message->reason.p == NULL)
        return TG_E_NOMEM;
    message->close = code;
    return TG_OK;
}

/* The instance whose turn it is with the message. */
static const struct tg_instance_conf *next_for_message(struct tg_plugin_run *p,
                                                       const struct tg_chain *chain)
{
    uint32_t at = p->next++;
    return chain->v[p->message.from_origin ? chain->n - 1 - at : at];
}

enum tg_step tg_plugins_message_chain(struct tg_request *r)
{
    struct tg_plugin_run *p = &r->plugins;
    const struct tg_chain *chain = &r->chains->phase[TG_PHASE_MESSAGE];
    while (p->next < chain->n && !p->message.dropped) {
        const struct tg_instance_conf *instance = next_for_message(p, chain);
        enum tg_step step = tg_plugins_offer(r, instance);
        if (step != TG_STEP_NEXT)
            return step;
    }
    if (p->message.dropped || p->message.unchanged) {
        tg_plugins_drop_chunk(p);
        return TG_STEP_NEXT;
    }
    return tg_plugins_hand_out_chunk(p) ? TG_STEP_NEXT : tg_plugins_break_off(r);
}

/* `data` in one piece, borrowed, or a copy of it in chunk_buf; false: no memory. */
static bool take_data(struct tg_plugin_run *p, const struct tg_buf *data)
{
    p->chunk = tg_buf_piece(data, 0);
    if (p->chunk.n == data->size) {
        p->chunk = data->size > 0 ? p->chunk : TG_STR("");
        return true;
    }
    p->chunk = tg_str(NULL, 0);
    for (size_t at = 0; at < data->size;) {
        struct tg_str piece = tg_buf_piece(data, at);
        if (tg_buf_append(&p->chunk_buf, piece.p, piece.n) != TG_OK)
            return false;
        at += piece.n;
    }
    return true;
}

enum tg_step tg_plugins_message(struct tg_request *r, const struct tg_plugin_message *message,
                                const struct tg_buf *data, struct tg_buf *out)
{
    struct tg_plugin_run *p = &r->plugins;
    tg_assert(!p->active);
    if (p->chunk_buf.slab == NULL)
        tg_buf_init(&p->chunk_buf, tg_gate_worker(r->gate)->slab);
    p->phase = TG_PHASE_MESSAGE;
    p->next = 0;
    p->message = *message;
    p->message.unchanged = true;
    p->out = out;
    return take_data(p, data) ? tg_plugins_message_chain(r) : tg_plugins_break_off(r);
}
