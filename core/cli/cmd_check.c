/* cmd_check.c: `tidegate check [FILE]`. Reads a configuration and loads its plugins as `run` would,
 * serves nothing. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/rehearse.h"
#include "config/load.h"

static int check(const struct tg_args *args)
{
    const char *path = args->operand_count > 0 ? args->operands[0] : TG_COMMAND_CONFIG;
    return tg_config_check(path, stdout, tg_rehearse);
}

const struct tg_command tg_command_check = {
    .name = "check",
    .operands = "[FILE]",
    .max_operands = 1,
    .summary = "read a configuration (gateway.lua) and report every mistake in it",
    .details = "Each mistake is printed with file, line and column, the path to the field, the\n"
               "line itself and, where there is one, a suggestion. Exit status: 0 without a\n"
               "mistake, 1 otherwise. The plugins are loaded and configured as a worker does it,\n"
               "so init() and configure() run, once.\n",
    .run = check,
};
