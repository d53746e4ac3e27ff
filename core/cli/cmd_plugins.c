/* cmd_plugins.c: `tidegate plugins [NAME]`. Asks a running gateway for its plugins. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

static int plugins(const struct tg_args *args)
{
    static const struct tg_show show = {"plugins", {"/plugins", NULL}};
    return tg_show_run(args, &show);
}

static const struct tg_option options[] = {
    TG_SHOW_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_plugins = {
    .name = "plugins",
    .operands = "[NAME]",
    .max_operands = 1,
    .options = options,
    .summary = "list the plugins of a running gateway, or tell all about one",
    .details =
        "Per plugin: its VMs and their heaps, errors, kills by reason, forced collections and\n"
        "quarantine. Counts are since the plugin was configured first, across reloads.\n",
    .run = plugins,
};
