/* http_response.c: see http.h. Fields are kept as they came, name and value by name and value with
 * their lengths in front; a look-up walks over them, which for a head is as fast as a hash.
 *
 * Streamed. The userdata is the memory of hold and wait; nothing anchors it, so that the collector
 * closes the connection of a response that was dropped (while somebody waits, his stack has it).
 *
 *     OPEN ---------- end, failure, timeout; its hold ends; collected ----------> OVER
 *     fetch is there, `run` while one waits                           fetch is NULL, err says why
 *
 * A hold that ends in somebody else's wait (of another task or request) wakes him in the next
 * round.
 */
#include "base/banned.h"
#include "bind/http.h"

#include "bind/json.h"
#include "bind/wrap.h"
#include "gateway/fetch.h"
#include "gateway/wait.h"

struct pair {
    uint32_t name_n;
    uint32_t value_n;
};

struct response {
    uint32_t magic;
    uint16_t status;
    bool streamed;
    bool done;              /* all that comes is in fetch->received */
    enum tg_err err;        /* why it is over; TG_OK: the body came whole */
    const char *reason;     /* static, or NULL */
    struct tg_fetch *fetch; /* owned; NULL: it is over */
    struct tg_run *run;     /* who waits for the next piece; NULL: nobody */
    struct tg_wait wait;
    struct tg_held hold;
    struct tg_task wake;
    uint32_t count;      /* of fields */
    struct pair sizes[]; /* then the bytes */
};

static char *bytes_of(struct response *response)
{
    return (char *)(response->sizes + response->count);
}

/* Pushes all bytes of `body` as one string. */
static void push_body(lua_State *L, const struct tg_buf *body)
{
    char *whole = lua_newuserdata(L, body->size + 1);
    tg_buf_copy_out(body, whole);
    lua_pushlstring(L, whole, body->size);
    lua_remove(L, -2);
}

/* Pushes a response that has its head. */
static struct response *push_head(lua_State *L, const struct tg_response_head *head)
{
    const struct tg_fields *fields = &head->fields;
    size_t size = sizeof(struct response) + fields->n * sizeof(struct pair);
    for (uint32_t i = 0; i < fields->n; i++)
        size += fields->v[i].name.n + fields->v[i].value.n;
    struct response *response = tg_bind_new_value(L, TG_SCOPE_HTTP_RESPONSE, size);
    response->status = head->status;
    response->count = fields->n;
    char *at = bytes_of(response);
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct tg_field *field = &fields->v[i];
        response->sizes[i] = (struct pair){(uint32_t)field->name.n, (uint32_t)field->value.n};
        memcpy(at, field->name.p, field->name.n);
        at += field->name.n;
        if (field->value.n > 0)
            memcpy(at, field->value.p, field->value.n);
        at += field->value.n;
    }
    return response;
}

int tg_bind_push_response(lua_State *L, const struct tg_response_head *head,
                          const struct tg_buf *body)
{
    push_head(L, head);
    lua_createtable(L, 1, 0);
    push_body(L, body);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    return 1;
}

int tg_bind_push_fetch_error(lua_State *L, enum tg_err err, bool connected, const char *reason)
{
    switch (err) {
    case TG_E_LIMIT:
        return tg_bind_fail(L, "too_large",
                            "the response is larger than max_body or limits.plugin.memory, or "
                            "its head than limits.response.headers");
    case TG_E_TIMEOUT:
        return tg_bind_fail(L, "timeout",
                            connected ? "the origin did not answer in time"
                                      : "the origin did not take the connection in time");
    case TG_E_PROTOCOL:
        return tg_bind_fail(L, "bad_input", reason != NULL ? reason : tg_err_text(err));
    case TG_E_UNAVAILABLE:
        return tg_bind_fail(L, "unavailable", "the request that the response belonged to is over");
    case TG_E_DNS:
        return tg_bind_fail(L, "dns", tg_err_text(err));
    case TG_E_NOMEM:
    case TG_E_FILES:
        return tg_bind_fail(L, "unavailable", tg_err_text(err));
    default:
        return tg_bind_fail(L, connected ? "reset" : "refused", tg_err_text(err));
    }
}

/* ---- Piece by piece ---- */

static struct tg_loop *loop_of(const struct response *response)
{
    return &response->fetch->gate->worker->loop;
}

/* Nothing comes any more. */
static void end_stream(struct response *response, enum tg_err err, const char *reason)
{
    response->err = err;
    response->reason = reason;
    tg_held_remove(&response->hold);
    tg_fetch_free(&response->fetch);
}

static void on_release(struct tg_held *hold)
{
    struct response *response = TG_CONTAINER_OF(hold, struct response, hold);
    if (response->run != NULL)
        tg_loop_defer(loop_of(response), &response->wake);
    end_stream(response, TG_E_UNAVAILABLE, NULL);
}

static void on_wake(struct tg_task *task)
{
    tg_wait_end(TG_CONTAINER_OF(task, struct response, wake)->run);
}

static void on_piece(struct tg_fetch *fetch)
{
    const struct response *response = fetch->arg;
    if (response->run != NULL)
        tg_wait_end(response->run);
}

static void on_done(struct tg_fetch *fetch)
{
    struct response *response = fetch->arg;
    response->done = true;
    on_piece(fetch);
}

/* Whether push_chunk() has something to say. */
static bool has_news(const struct response *response)
{
    return response->fetch == NULL || response->done || response->fetch->received.size > 0;
}

/* What has come, or how it ended. */
static int push_chunk(lua_State *L, struct response *response)
{
    struct tg_fetch *fetch = response->fetch;
    if (fetch != NULL && fetch->received.size > 0) {
        push_body(L, &fetch->received);
        tg_buf_release(&fetch->received);
        return 1;
    }
    if (fetch != NULL)
        end_stream(response, fetch->err, fetch->reason);
    if (response->err != TG_OK)
        return tg_bind_push_fetch_error(L, response->err, true, response->reason);
    lua_pushnil(L);
    return 1;
}

static int resume_chunk(lua_State *L)
{
    return push_chunk(L, lua_touserdata(L, 1));
}

static int on_resume(struct tg_wait *wait, struct tg_run *run, bool cancelled)
{
    struct response *response = TG_CONTAINER_OF(wait, struct response, wait);
    int count = 0;
    response->run = NULL;
    tg_task_cancel(&response->wake);
    if (cancelled)
        return 0;
    if (!has_news(response))
        end_stream(response, TG_E_TIMEOUT, NULL);
    return tg_run_push(run, resume_chunk, response, &count) == TG_OK ? count : -1;
}

/* The body of a response that is not streamed, as one piece at `offset` 0. */
static int push_only_chunk(lua_State *L, lua_Number offset)
{
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, 1);
    if (offset > 0 || lua_objlen(L, -1) == 0)
        lua_pushnil(L);
    return 1;
}

/* next_chunk(response, offset): the next piece, nil at the end, or nil and an error. */
static int next_chunk(lua_State *L)
{
    struct response *response = tg_bind_check_value(L);
    if (!response->streamed)
        return push_only_chunk(L, lua_tonumber(L, 2));
    if (response->run != NULL)
        tg_bind_call_error(L, "another function of the plugin waits for the next piece");
    if (has_news(response))
        return push_chunk(L, response);
    if (!tg_run_can_suspend(L))
        return tg_run_suspend(L); /* raises, with the reason */
    uint64_t deadline = response->fetch->deadline;
    if (tg_wait_begin(tg_run_current(L), &response->wait, deadline == UINT64_MAX ? 0 : deadline) !=
        TG_OK)
        return tg_bind_fail(L, "unavailable", tg_err_text(TG_E_NOMEM));
    response->run = tg_run_current(L);
    tg_fetch_read(response->fetch);
    return tg_run_suspend(L);
}

void tg_bind_push_stream(lua_State *L, struct tg_fetch *fetch, struct tg_run *run)
{
    struct response *response = push_head(L, &fetch->head);
    response->streamed = true;
    response->fetch = fetch;
    response->wait.on_resume = on_resume;
    response->hold.lasts = true;
    response->hold.release = on_release;
    tg_task_init(&response->wake, on_wake);
    fetch->on_piece = on_piece;
    fetch->on_done = on_done;
    fetch->arg = response;
    tg_held_add(run, &response->hold);
}

/* What lua/tidegate/chunks.lua begins with. */
int tg_api_http_response_chunks(lua_State *L)
{
    tg_bind_check_value(L);
    return 0;
}

void tg_bind_wrap_response(lua_State *L)
{
    static const lua_CFunction parts[] = {next_chunk};
    tg_bind_wrap(L, "lua/tidegate/chunks.lua", "chunks", parts, TG_COUNT_OF(parts));
}

/* It was dropped. */
void tg_bind_close_response(void *value)
{
    struct response *response = value;
    if (response->fetch != NULL)
        end_stream(response, TG_E_CLOSED, NULL);
}

/* ---- What plugins see ---- */

/* Pushes the body, of a response that has it. */
static void push_whole(lua_State *L)
{
    const struct response *response = lua_touserdata(L, 1);
    if (response->streamed)
        luaL_error(L, "the body of a streamed response comes by response:chunks() only");
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, 1);
}

int tg_api_http_response_status(lua_State *L, struct tg_bind_object *object)
{
    const struct response *response = lua_touserdata(L, 1);
    (void)object; /* values have none */
    lua_pushinteger(L, response->status);
    return 1;
}

int tg_api_http_response_body(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    push_whole(L);
    return 1;
}

int tg_api_http_response_header(lua_State *L)
{
    struct response *response = tg_bind_check_value(L);
    struct tg_str name = tg_bind_arg_str(L, 1);
    const char *at = bytes_of(response);
    for (uint32_t i = 0; i < response->count; i++) {
        const struct pair *pair = &response->sizes[i];
        if (tg_str_eq_nocase(tg_str(at, pair->name_n), name))
            return tg_bind_push_str(L, tg_str(at + pair->name_n, pair->value_n));
        at += pair->name_n + pair->value_n;
    }
    lua_pushnil(L);
    return 1;
}

int tg_api_http_response_json(lua_State *L)
{
    struct tg_str body;
    tg_bind_check_value(L);
    push_whole(L);
    body.p = lua_tolstring(L, -1, &body.n);
    return tg_json_push_decoded(L, body);
}
