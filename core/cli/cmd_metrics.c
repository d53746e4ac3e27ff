/* cmd_metrics.c: `tidegate metrics`. Prints what Prometheus would read. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

static int metrics(const struct tg_args *args)
{
    static const struct tg_show show = {NULL, {"/metrics", NULL}};
    struct tg_ask ask;
    int status = tg_ask_find(args, &ask);
    return status == TG_EXIT_OK ? tg_show_once(&ask, &show, NULL, NULL) : status;
}

static const struct tg_option options[] = {
    TG_ASK_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_metrics = {
    .name = "metrics",
    .operands = "",
    .options = options,
    .summary = "print the counters of a running gateway, in Prometheus' text format",
    .run = metrics,
};
