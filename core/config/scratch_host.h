/* scratch_host.h: the world of a config script, as lua/tidegate/config.lua asks for it.
 *
 * A table of functions: files, environment variables, bundled plugins, the list of limits, and the
 * patterns and conflicts of the route table. The script never sees it; trusted Lua code calls it.
 *
 * What a function has open while Lua may raise is owned by the struct, so a raise leaks nothing:
 * the next call or tg_scratch_host_release() puts it away.
 */
#ifndef TG_CONFIG_SCRATCH_HOST_H
#define TG_CONFIG_SCRATCH_HOST_H

#include "base/str.h"

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

struct tg_route_builder;
struct tg_route_table;
struct tg_sources;

/* Files that stand before those of the sources: for tests. */
struct tg_config_files {
    /* The text of `path` (borrowed until the next call); false: look on the disk. */
    bool (*find)(void *arg, struct tg_str path, struct tg_str *text);
    void *arg;
};

struct tg_scratch_host {
    const struct tg_config_files *files; /* borrowed; NULL: none */
    FILE *out;                           /* where the script's print goes; borrowed */
    size_t printed;                      /* bytes that it printed */
    bool wrote;                          /* mistakes were written to it */
    bool starved;                        /* a function had no memory for what it was asked */
    struct tg_sources *sources;          /* what is read and was read; one reference */
    struct tg_route_builder *builder;    /* of the last build_routes */
    bool keeps_builder;                  /* route_order will be asked */
    struct tg_route_table *table;        /* what it built; owned until somebody takes it */
};

void tg_scratch_host_init(struct tg_scratch_host *host);
void tg_scratch_host_release(struct tg_scratch_host *host);

/* Pushes the table. `host` is borrowed until the state is closed. Raises when memory is out. */
void tg_scratch_host_push(lua_State *L, struct tg_scratch_host *host);

#endif
