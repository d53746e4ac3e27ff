/* module.h: the Lua module "tidegate.harness", on which lua/tidegate/test/ builds. For the host's
 * state, where specs run; never for plugins.
 *
 * Functions of the module:
 *   new(real, seed) -> harness               real: seconds since 1970 at which its clock stands
 *   load(path, files) -> snapshot, text, read
 *                                          files: path -> text, before those of the disk; snapshot
 *                                          is nil when it does not load; text: what `check` would
 *                                          print; read: the set of paths that were looked for
 *   hmac(name, key, text) -> bytes           of a digest that OpenSSL knows
 *   metrics() -> text                        what plugins count, as it is scraped
 *   cover(), covered() -> table              see coverage.h
 *   mkdir(path)                              where there is none
 *   setenv(name, value or nil)               of this process
 *   limit(seconds, what)                     see watch.h
 *   websocket_accept(key) -> text            what belongs to a Sec-WebSocket-Key
 *
 * Methods of a harness (see harness.h):
 *   adopt(snapshot, anew), run(), close()
 *   events() -> list                         see event.h
 *   now() -> real, mono; next() -> seconds of mono or nil; move(seconds)
 *   connect(listener, ip, port) -> pipe      listeners count from 1
 *   settle(id, verdict) -> pipe or boolean   of a dial
 *   answer(id, kind, ttl, records) -> boolean   of a query
 *   only(phase), consumer(name), confine(id, scope, name), watch_state(on)
 *   vm(plugin), collect(plugin), breaker(service), targets(service)
 *   open() -> list, background() -> list     what is not over
 *
 * Methods of a snapshot:
 *   services(), routes(), listeners(), plugins(), files() -> path -> text
 *
 * Methods of a pipe (see pipe.h):
 *   send(text) -> count or nil, why; receive() -> text or nil, why
 *   finish(), close(), reset(), is_open()
 *
 * Misuse raises; what the other end did comes back as nil and "closed", "reset" or "again".
 */
#ifndef TG_HARNESS_MODULE_H
#define TG_HARNESS_MODULE_H

#include <lua.h>

/* The module as package.preload wants it. */
int tg_harness_open(lua_State *L);

#endif
