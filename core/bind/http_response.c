/* http_response.c: see http.h. Fields are kept as they came, name and value by name and value with
 * their lengths in front; a look-up walks over them, which for a head is as fast as a hash. */
#include "base/banned.h"
#include "bind/http.h"

#include "bind/json.h"

struct pair {
    uint32_t name_n;
    uint32_t value_n;
};

struct response {
    uint32_t magic;
    uint16_t status;
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

int tg_bind_push_response(lua_State *L, const struct tg_response_head *head,
                          const struct tg_buf *body)
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
    lua_createtable(L, 1, 0);
    push_body(L, body);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    return 1;
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
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, 1);
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
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, 1);
    body.p = lua_tolstring(L, -1, &body.n);
    return tg_json_push_decoded(L, body);
}
