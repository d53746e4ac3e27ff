/* command.c: the table that commands.def describes. */
#include "base/banned.h"
#include "cli/command.h"

const struct tg_command *const tg_commands[] = {
#define TG_COMMAND(name) &tg_command_##name,
#include "cli/commands.def"
#undef TG_COMMAND
    NULL,
};
