/* digest.h: digests of Lua values, to find out whether two evaluations of a script agree. */
#ifndef TG_CONFIG_DIGEST_H
#define TG_CONFIG_DIGEST_H

#include <lua.h>

/* digest(objects, value...) -> number: equal for equal values, whatever the order of keys. A table
 * that is a key of `objects` counts as the kind and the secret or name of what it stands for there.
 * Functions are all equal. */
int tg_digest_values(lua_State *L);

#endif
