/* text.h: text codecs that several files of core/bind use.
 *
 * All are pure and write into room that the caller has; nothing here touches a Lua state but for
 * tg_bind_write_cookie(), which reads arguments and raises. Threads: any.
 */
#ifndef TG_BIND_TEXT_H
#define TG_BIND_TEXT_H

#include "base/fmt.h"

#include <lua.h>

/* 0 to 15 for a hexadecimal digit of either case, else -1. */
int tg_bind_hex_value(char c);

/* Decodes percent-encoding into `out`, room for in.n bytes; malformed escapes stay as they are;
 * with `plus` a "+" is a space (forms). Returns the length. */
size_t tg_bind_percent_decode(struct tg_str in, bool plus, char *out);

/* Writes `s` with the characters that mean something to HTML as entities: at most 6 bytes each. */
void tg_bind_write_html(struct tg_fmt *f, struct tg_str s);

/* Writes arguments 1 to 3 of the running function (name, value, options) as a Set-Cookie value (RFC
 * 6265, 4.1.1). Raises for what cannot stand in one. */
void tg_bind_write_cookie(lua_State *L, struct tg_fmt *f);

#endif
