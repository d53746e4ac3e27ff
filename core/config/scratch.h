/* scratch.h: the throw-away VM in which a configuration is evaluated.
 *
 * One scratch evaluates one config file: it holds a Lua state with the trusted files of lua/ (taken
 * from the binary), runs `tidegate.config` on the file, and keeps what came out until it is freed:
 * the tree and the route table. Memory and CPU time are bounded, and no loop or pattern of the
 * script gets around that. The JIT is off, so that the clock is heard.
 *
 * Order: new, load, and when that succeeded, read the tree; free.
 * Threads: one at a time; nothing is shared but the environment variables.
 */
#ifndef TG_CONFIG_SCRATCH_H
#define TG_CONFIG_SCRATCH_H

#include "base/err.h"

#include <lua.h>
#include <stdio.h>

struct tg_config_files;
struct tg_scratch;
struct tg_route_table;
struct tg_sources;

struct tg_scratch_bounds {
    size_t memory; /* bytes that the VM may hold */
    uint64_t time; /* us of CPU time for the load */
};

/* What `check`, `run` and reload grant: 256 MiB, 5 s. A route takes some 1.2 KiB while it is
 * evaluated, so this is room for twice a hundred thousand. */
extern const struct tg_scratch_bounds tg_scratch_default_bounds;

/* A fresh VM. TG_E_NOMEM; TG_E_UNAVAILABLE when this LuaJIT takes no allocator of ours. */
enum tg_err tg_scratch_new(const struct tg_scratch_bounds *bounds,
                           struct tg_scratch **out) TG_MUST_USE;

/* What the load reads: `files` (borrowed; may be NULL) first, then `sources` (a reference is taken)
 * instead of the world as it is. Before the load. */
void tg_scratch_read_from(struct tg_scratch *scratch, const struct tg_config_files *files,
                          struct tg_sources *sources);

/* Evaluates and checks the file at `path` (borrowed), once. Messages for people go to
 * `diagnostics`, warnings on success too. TG_E_CONFIG: mistakes, all written; TG_E_TIMEOUT,
 * TG_E_LIMIT: a bound was passed, also written; TG_E_SCRIPT: a defect of the trusted files,
 * written; TG_E_NOMEM: not written. */
enum tg_err tg_scratch_load(struct tg_scratch *scratch, const char *path,
                            FILE *diagnostics) TG_MUST_USE;

/* A module of lua/tidegate/inspect/ that is asked about configurations: its function `answer` gets
 * a table of what is asked and the host, and returns a status and two texts, for stdout and stderr.
 */
struct tg_scratch_call {
    const char *module;                    /* "tidegate.inspect.routes" */
    void (*fill)(lua_State *L, void *arg); /* sets fields of the table at the top; may raise */
    void *arg;
    FILE *out;
    FILE *err; /* also gets what the bounds end, and the script's print */
};

/* Calls it, within the bounds, and tells its status. Errors as those of tg_scratch_load(), all
 * written but TG_E_NOMEM. `path` (borrowed) names the file where no line can be told. Instead of a
 * load, once. */
enum tg_err tg_scratch_ask(struct tg_scratch *scratch, const struct tg_scratch_call *call,
                           const char *path, int *status) TG_MUST_USE;

/* The VM, borrowed; its stack is empty. */
lua_State *tg_scratch_state(struct tg_scratch *scratch);

/* Pushes the tree of a successful load (lua/tidegate/config.lua tells its shape). May raise. */
void tg_scratch_push_tree(lua_State *L);

/* Pushes settings.admin of a load that failed, in the shape of the tree, or nil. May raise. */
void tg_scratch_push_admin(lua_State *L);

/* Hands over the route table that the load built; NULL before and after. The caller frees it. */
struct tg_route_table *tg_scratch_take_table(struct tg_scratch *scratch);

/* Closes the VM and all that is left in it. */
void tg_scratch_free(struct tg_scratch **scratch);

#endif
