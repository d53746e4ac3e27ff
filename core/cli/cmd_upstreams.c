/* cmd_upstreams.c: `tidegate upstreams`. Asks a running gateway what it knows of its origins. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

static int upstreams(const struct tg_args *args)
{
    static const struct tg_show show = {"upstreams", {"/upstreams", NULL}};
    return tg_show_run(args, &show);
}

static const struct tg_option options[] = {
    TG_SHOW_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_upstreams = {
    .name = "upstreams",
    .operands = "[SERVICE]",
    .max_operands = 1,
    .options = options,
    .summary = "list the targets of services: state, load, latency, failures",
    .details =
        "A target is up, down (by its checks), ejected (by its answers) or open (by its\n"
        "breaker). Counts are those of all workers, since the target was first declared.\n"
        "\n"
        "Names that targets are declared by follow: found, stale (they cannot be looked up, and\n"
        "the last addresses stay in use), none (no such name, or no address), failed, pending;\n"
        "when they are looked up again; and their addresses.\n",
    .run = upstreams,
};
