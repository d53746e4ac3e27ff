/* host.h: the Lua state in which specs run: all of Lua's libraries, the files of lua/ from the
 * binary, and the module tidegate.harness.
 *
 * It is the operator's own code, so nothing is taken away from it and no allocator of ours is under
 * it: what specs and busted take never shows in the figures of a plugin.
 */
#ifndef TG_HARNESS_HOST_H
#define TG_HARNESS_HOST_H

#include <lua.h>

/* Runs the module `name` of lua/ in a new state with the arguments as the global `arg`; the status
 * is what the module's function main() returns. An error of Lua is printed, and 3. */
int tg_host_run(const char *name, int argc, char *const *argv);

/* Puts the files of the program before those of the disk where require() looks in `L`, and the
 * module tidegate.harness among them. Raises when memory is out. */
void tg_host_install(lua_State *L);

#endif
