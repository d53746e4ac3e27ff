/* cmd_status.c: `tidegate status`. Asks a running gateway how it is. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

static int status(const struct tg_args *args)
{
    static const struct tg_show show = {"status", {"/status", "/config"}};
    return tg_show_run(args, &show);
}

static const struct tg_option options[] = {
    TG_SHOW_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_status = {
    .name = "status",
    .operands = "",
    .max_operands = 0,
    .options = options,
    .summary = "tell whether a gateway serves, what, and for how long",
    .details = "With --json: the answers of /status and /config, a line each.\n",
    .run = status,
};
