/* http.h: the response of tg.http as an object of Lua's.
 *
 * One userdata holds the head: its fields, one after the other; the body is a string that hangs on
 * it. All of it is charged to the plugin that asked. A streamed response holds the fetch instead of
 * a body, until that is over, the plugin drops it, its request ends or the plugin is killed.
 */
#ifndef TG_BIND_HTTP_H
#define TG_BIND_HTTP_H

#include "bind/object.h"

struct tg_fetch;

/* Pushes an object for the response; both are copied. Raises when memory is out. */
int tg_bind_push_response(lua_State *L, const struct tg_response_head *head,
                          const struct tg_buf *body);

/* The same for a streamed response whose head is there: `fetch` is the object's from then on, held
 * by `run`. Raises when memory is out; the fetch is the caller's then. */
void tg_bind_push_stream(lua_State *L, struct tg_fetch *fetch, struct tg_run *run);

/* Pushes nil and the error of the API for what became of a fetch. */
int tg_bind_push_fetch_error(lua_State *L, enum tg_err err, bool connected, const char *reason);

#endif
