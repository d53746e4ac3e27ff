/* cmd_new.c: `tidegate new plugin NAME` and `tidegate new gateway`: skeletons whose specs pass. The
 * texts are in lua/tidegate/test/skeleton.lua. */
#include "base/banned.h"
#include "cli/command.h"

#include "harness/host.h"

static int new (const struct tg_args *args)
{
    return tg_host_run("tidegate.test.skeleton", args->word_count, args->words);
}

const struct tg_command tg_command_new = {
    .name = "new",
    .operands = "plugin NAME | gateway",
    .reads_words = true,
    .summary = "write the skeleton of a plugin or of a gateway, with a spec that passes",
    .details =
        "`tidegate new plugin geo` writes plugins/geo/init.lua, its README.md and\n"
        "spec/geo_spec.lua; `tidegate new gateway` writes gateway.lua and spec/gateway_spec.lua;\n"
        "both write .busted and .luarc.json where there are none. Files that exist are never\n"
        "touched: then nothing is written at all. `tidegate test` runs the specs.\n"
        "\n"
        "  --phases=LIST   phases of the plugin: certificate, rewrite, access, header_filter,\n"
        "                  body_filter, message, log, with commas between them (access)\n",
    .run = new,
};
