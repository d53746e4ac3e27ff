/* fields.c: see fields.h. */
#include "base/banned.h"
#include "bind/fields.h"

int tg_bind_push_field(lua_State *L, const struct tg_fields *fields, struct tg_str name)
{
    const struct tg_field *field = tg_fields_find(fields, name);
    if (field == NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, field->value.p, field->value.n);
    return 1;
}

int tg_bind_push_field_list(lua_State *L, const struct tg_fields *fields, struct tg_str name)
{
    const struct tg_field *field = NULL;
    int n = 0;
    lua_newtable(L);
    while ((field = tg_fields_next(fields, name, field)) != NULL) {
        lua_pushlstring(L, field->value.p, field->value.n);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

void tg_bind_raise_edit(lua_State *L, enum tg_err err, struct tg_str name)
{
    bool valid_name = tg_str_is_token(name);
    if (err == TG_E_INVALID && valid_name)
        tg_bind_arg_error(L, 2, "has a control character, which a header cannot hold");
    if (err == TG_E_INVALID)
        tg_bind_arg_error(L, 1, "is not a token, which a header's name must be");
    tg_bind_check(L, err, 1);
    __builtin_unreachable();
}
