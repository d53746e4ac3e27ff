/* http.h: the response of tg.http as an object of Lua's.
 *
 * One userdata holds the head: its fields, one after the other; the body is a string that hangs on
 * it. All of it is charged to the plugin that asked.
 */
#ifndef TG_BIND_HTTP_H
#define TG_BIND_HTTP_H

#include "bind/object.h"

/* Pushes an object for the response; both are copied. Raises when memory is out. */
int tg_bind_push_response(lua_State *L, const struct tg_response_head *head,
                          const struct tg_buf *body);

#endif
