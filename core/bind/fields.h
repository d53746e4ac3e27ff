/* fields.h: header fields as Lua values, shared by ctx.req, ctx.upstream and ctx.resp.
 *
 * Lists are the request's and live as long as it; all functions may raise (memory).
 */
#ifndef TG_BIND_FIELDS_H
#define TG_BIND_FIELDS_H

#include "bind/object.h"

/* Pushes the first value of `name`, or nil. */
int tg_bind_push_field(lua_State *L, const struct tg_fields *fields, struct tg_str name);

/* Pushes a table of all values of `name`, in order. */
int tg_bind_push_field_list(lua_State *L, const struct tg_fields *fields, struct tg_str name);

/* Argument `n`: prepared edits, of the request to the origin or of the response, which live as long
 * as the VM. In edits.c. */
const struct tg_edits *tg_bind_arg_edits(lua_State *L, int n, bool request);

/* A template as requests see it: the text for `r`, as long as that lives; p == NULL: no memory. */
struct tg_bind_template {
    struct tg_str (*render)(const void *of, struct tg_request *r);
    const void *of;
};

/* The template at `index`, made without escape, which lives as long as the VM from now on. False:
 * it is none. In template.c. */
bool tg_bind_to_template(lua_State *L, int index, struct tg_bind_template *out);

/* Sets item->render and ->of to the template at `index`, which lives as long as the VM from now on.
 * False: it is none, or was not made with escape "header". In template.c. */
bool tg_bind_to_header_template(lua_State *L, int index, struct tg_edits_item *item);

/* Sets what the table at index 1 says of bodies: its `compress` and `decompress`. In codings.c. */
void tg_bind_read_codings(lua_State *L, struct tg_edits *edits);

/* Raises what `err` says of an edit of the field `name`: name is argument 1 and value argument 2 of
 * the function that runs. */
TG_NORETURN void tg_bind_raise_edit(lua_State *L, enum tg_err err, struct tg_str name);

#endif
