/* cmd_reload.c: `tidegate reload [--dry-run]`. Has a running gateway read its configuration anew.
 */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

enum { OPTION_DRY_RUN = TG_ASK_OPTIONS_END };

static int reload(const struct tg_args *args)
{
    bool dry = (args->options & 1u << OPTION_DRY_RUN) != 0;
    return tg_show_order(args, dry ? "/reload?dry-run" : "/reload");
}

static const struct tg_option options[] = {
    TG_ASK_OPTIONS,
    {"dry-run", "only find out whether the gateway would take it", NULL},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_reload = {
    .name = "reload",
    .operands = "",
    .max_operands = 0,
    .options = options,
    .summary = "have a running gateway read its configuration anew",
    .details =
        "The gateway reads the file that it was started with. When there are mistakes, all of "
        "them\n"
        "are printed and the configuration in force stays. What the reload does not change goes\n"
        "on: connections, counters, caches, plugins of the same code and configuration.\n"
        "\n"
        "exit status: 0 the configuration is in force, or has not changed; 1 it has mistakes, and\n"
        "the one before stays; 3 no gateway could be asked.\n",
    .run = reload,
};
