/* wrap.h: functions of the API whose loop is Lua, so that it can be preempted and suspended.
 *
 * A C function holds the worker until it returns: it can neither be preempted at the end of a slice
 * nor call a function of the plugin that waits. Where either matters, the loop is a small file of
 * Lua (lua/tidegate/...) around C functions that each do a bounded piece of the work.
 *
 * Such a file returns the function that plugins see, and gets as arguments the C function that
 * api.def registered under the name, then the parts. All of them have the entry of the API as first
 * upvalue, so that their errors name what the plugin called.
 */
#ifndef TG_BIND_WRAP_H
#define TG_BIND_WRAP_H

#include "bind/api.h"

/* Replaces `name` in the table of names on top of the stack by what the embedded `file` makes of it
 * and the `count` functions at `parts`. Raises when memory is out. */
void tg_bind_wrap(lua_State *L, const char *file, const char *name, const lua_CFunction *parts,
                  size_t count);

/* Wraps what is to be wrapped of `scope`, whose names are in the table on top of the stack. */
void tg_bind_wrap_scope(lua_State *L, enum tg_api_scope scope);

/* What releases that which a userdata of the VALUE scope `scope` owns, when it is gone; NULL: it
 * owns nothing. It touches no Lua state: see tg_vm_mark_owner(). */
void (*tg_bind_releaser(enum tg_api_scope scope))(void *value);

/* In crypto_pbkdf2.c, crypto_key.c, regex.c, gzip.c, req.c and http_response.c. */
void tg_bind_wrap_req(lua_State *L);
void tg_bind_wrap_response(lua_State *L);
void tg_bind_close_response(void *value);
void tg_bind_wrap_gzip(lua_State *L);
void tg_bind_wrap_crypto(lua_State *L);
void tg_bind_free_key(void *value);
void tg_bind_wrap_regex(lua_State *L);
void tg_bind_free_regex(void *value);

#endif
