/* cmd_limits.c: `tidegate limits`. Asks a running gateway for its bounds. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

static int limits(const struct tg_args *args)
{
    static const struct tg_show show = {"limits", {"/limits", NULL}};
    return tg_show_run(args, &show);
}

static const struct tg_option options[] = {
    TG_SHOW_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_limits = {
    .name = "limits",
    .operands = "",
    .max_operands = 0,
    .options = options,
    .summary = "list every bound of a running gateway, and how often it was hit",
    .details =
        "A value that is not the default has a star. Hits are counted since the process began.\n",
    .run = limits,
};
