/* cmd_check.c: `tidegate check [FILE]`. Reads a configuration and loads its plugins as `run` would,
 * looks at it, and serves nothing. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/rehearse.h"
#include "config/inspect.h"

enum { OPTION_STRICT, OPTION_JSON, OPTION_DIFF };

static int check(const struct tg_args *args)
{
    struct tg_check check = {
        .path = args->operand_count > 0 ? args->operands[0] : TG_COMMAND_CONFIG,
        .old = args->values[OPTION_DIFF],
        .strict = (args->options & 1u << OPTION_STRICT) != 0,
        .json = (args->options & 1u << OPTION_JSON) != 0,
        .rehearse = tg_rehearse,
    };

    return tg_config_check(&check, stdout, stderr);
}

static const struct tg_option options[] = {
    [OPTION_STRICT] = {"strict", "a warning is a mistake: exit status 1", NULL},
    [OPTION_JSON] = {"json", "print what was found as JSON", NULL},
    [OPTION_DIFF] = {"diff", "tell what would change from the configuration in OLD", "OLD"},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_check = {
    .name = "check",
    .operands = "[FILE]",
    .max_operands = 1,
    .options = options,
    .summary = "read a configuration (gateway.lua) and report every mistake in it",
    .details = "Each mistake is printed with file, line and column, the path to the field, a code\n"
               "that `tidegate explain` knows, the line itself and, where there is one, a\n"
               "suggestion. Warned of is what loads and is probably not meant: routes that no\n"
               "request reaches, services and zones that nothing uses, plugins that never run.\n"
               "Exit status: 0 without a mistake, 1 otherwise. The plugins are loaded and\n"
               "configured as a worker does it, so init() and configure() run, once.\n",
    .run = check,
};
