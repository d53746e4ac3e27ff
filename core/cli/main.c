/* main.c: where the program starts. It reads the command line and runs a command; what commands
 * there are stands in commands.def, what they do in cmd_<name>.c. */
#include "base/banned.h"
#include "cli/command.h"
#include "cli/libraries.h"

int main(int argc, char **argv)
{
    struct tg_args args;
    tg_libraries_adopt();
    if (tg_args_parse(tg_commands, argc, argv, &args, stderr) != TG_OK)
        return TG_EXIT_USAGE;
    return args.command->run(&args);
}
