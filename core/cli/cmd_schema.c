/* cmd_schema.c: `tidegate schema [NAME]`: what settings, objects and plugins may hold, from the
 * schemas that check them. */
#include "base/banned.h"
#include "cli/command.h"

#include "config/inspect.h"

#include <lua.h>

enum { OPTION_JSON_SCHEMA };

static void fill(lua_State *L, void *arg)
{
    const struct tg_args *args = arg;

    lua_pushstring(L, args->operands[0]);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, (args->options & 1u << OPTION_JSON_SCHEMA) != 0);
    lua_setfield(L, -2, "json_schema");
}

static int schema(const struct tg_args *args)
{
    struct tg_args mine = *args;

    return tg_inspect(&(struct tg_inspect){"schema", "schema", fill, &mine}, stdout, stderr);
}

static const struct tg_option options[] = {
    [OPTION_JSON_SCHEMA] = {"json-schema", "print JSON Schema (draft 2020-12)", NULL},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_schema = {
    .name = "schema",
    .operands = "[NAME]",
    .max_operands = 1,
    .options = options,
    .summary = "print what a part of a configuration may hold, or list the parts",
    .details =
        "NAME is settings, listener, service, route, zone.dict, zone.cache, use (the options\n"
        "of tg.use), a bundled plugin, or the file of a plugin: ./plugins/name.lua. Prints\n"
        "Markdown unless --json-schema is given.\n",
    .run = schema,
};
