/* cmd_explain.c: `tidegate explain [CODE]`: what a message about a configuration means. The texts
 * are in lua/tidegate/codes.lua, where the messages take their numbers from. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/report.h"

static int explain(const struct tg_args *args)
{
    struct tg_report *report;
    if (tg_report_new("explain", &report) != TG_OK)
        return TG_EXIT_SYSTEM;
    enum tg_err err = tg_report_print(report, NULL, 0, args->operands[0], stdout);
    tg_report_free(&report);
    if (err == TG_OK)
        return TG_EXIT_OK;
    return err == TG_E_NOT_FOUND ? TG_EXIT_USAGE : TG_EXIT_SYSTEM;
}

const struct tg_command tg_command_explain = {
    .name = "explain",
    .operands = "[CODE]",
    .max_operands = 1,
    .summary = "tell what a message means and what to do, or list all messages",
    .details = "CODE stands in brackets behind a message of `tidegate check`: TG1204.\n",
    .run = explain,
};
