/* zone.h: values between Lua and zones, shared by tg.dict, tg.cache and tg.lock.
 *
 * A zone object is a small userdata that borrows its zone from the VM set, which outlives the VM.
 * Numbers, strings and booleans cross as they are, tables of plain data as script/marshal writes
 * them; what comes out is a copy.
 *
 * All functions may raise. None leaks then: what is copied out of a zone hangs on the gate until it
 * is in the VM, what goes in is made when nothing can raise any more.
 */
#ifndef TG_BIND_ZONE_H
#define TG_BIND_ZONE_H

#include "bind/object.h"
#include "gateway/gate.h"
#include "gateway/vm_set.h"
#include "store/zone.h"

#define TG_BIND_VALUE_MAX ((size_t)16 << 20)

struct tg_bind_zone {
    uint32_t magic;
    struct tg_zone *zone; /* borrowed */
    uint64_t stale;       /* of a cache: what its declaration says, us */
};

/* The plugin's surroundings. */
struct tg_vm_entry *tg_bind_vm_entry(lua_State *L);

/* The zone that argument `n` names, or the plugin's own when it is absent, into *out. Raises when
 * there is none. */
void tg_bind_find_zone(lua_State *L, int n, enum tg_zone_kind kind, struct tg_bind_zone *out);

/* Pushes an object of `scope` for the zone that argument 1 names. */
int tg_bind_push_zone(lua_State *L, enum tg_zone_kind kind, enum tg_api_scope scope);

/* The zone object at argument 1 of a method, and the key, which is the method's first argument. */
struct tg_bind_zone *tg_bind_check_zone(lua_State *L, struct tg_str *key);

/* Argument `n`, called `name` in messages, as a value with one reference, the caller's, who does
 * not raise before handing it over. nil is absent. Raises when it cannot be stored, or when memory
 * is out. */
void tg_bind_take_value(lua_State *L, int n, struct tg_zone_value *out);

/* The same for the value at `index`; NULL, or why it cannot be stored (in `room`). */
const char *tg_bind_take_at(lua_State *L, int index, const char *name, struct tg_zone_value *out,
                            char *room, size_t size);

/* Pushes `value` (its reference is taken over): 1. */
int tg_bind_push_value(lua_State *L, struct tg_zone_value *value);

/* The duration `name` of the options at argument `n` (a table or nil) in *us; false: not given. */
bool tg_bind_option_duration(lua_State *L, int n, const char *name, uint64_t *us);

/* Raises unless all keys of the options at argument `n` are in `names` (ended by NULL). */
void tg_bind_check_options(lua_State *L, int n, const char *const *names);

/* Raises unless the plugin is being set up (init, configure). */
void tg_bind_check_set_up(lua_State *L);

/* Pushes true, or nil and an error for what a zone answered. */
int tg_bind_push_stored(lua_State *L, enum tg_err err);

#endif
