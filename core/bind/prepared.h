/* prepared.h: x:instead_of(phase, when?, by?), which all prepared objects have: gateway/prepared
 * for Lua.
 *
 * The object is in the VM and anchored there, so that requests may refer to it. All functions may
 * raise. Threads: the VM's.
 */
#ifndef TG_BIND_PREPARED_H
#define TG_BIND_PREPARED_H

#include "bind/object.h"
#include "gateway/prepared.h"

struct tg_instrument;

/* Argument 1: the phase that the object of the running method is to be, one of `allowed` (bits 1 <<
 * phase; else raises `why`), of the instance that is being configured. */
enum tg_phase tg_bind_arg_phase(lua_State *L, unsigned allowed, const char *why);

/* Has `step` stand in for `phase` as arguments 2 and 3 say; returns the object. */
int tg_bind_instead_of(lua_State *L, enum tg_phase phase, struct tg_prepared_step step);

/* The instrument that the plugin declares as `name`; NULL: none. In metrics.c. */
struct tg_instrument *tg_bind_find_instrument(lua_State *L, struct tg_str name);

/* Whether `key` may be a member of a log line: letters, digits and "_", 64 at most. In log.c. */
bool tg_bind_is_log_key(struct tg_str key);

/* Keeps the value at `index` for as long as the VM. */
void tg_bind_anchor(lua_State *L, int index);

#endif
