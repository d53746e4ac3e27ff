/* cmd_help.c: `tidegate help [COMMAND]`. Everything it prints comes from the table of commands. */
#include "base/banned.h"
#include "cli/command.h"

static const char intro[] = "Tidegate, an API gateway that is scripted in Lua.\n"
                            "\n"
                            "usage: tidegate COMMAND [options] [operands]\n"
                            "\n";

static const char outro[] =
    "\n"
    "`tidegate help COMMAND` tells more about a command.\n"
    "\n"
    "exit status: 0 done as asked, 1 the configuration has mistakes,\n"
    "2 the command line is not understood, 3 the system refused something\n";

static void print_overview(void)
{
    fputs(intro, stdout);
    for (const struct tg_command *const *c = tg_commands; *c != NULL; c++)
        printf("  %-9s %-21s %s\n", (*c)->name, (*c)->operands, (*c)->summary);
    fputs(outro, stdout);
}

/* "--admin ADDRESS" or "-H FIELD", terminated, in `room`. */
static const char *spell(const struct tg_option *o, char room[48])
{
    snprintf(room, 48, "%s%s%s%s", o->name[1] == '\0' ? "-" : "--", o->name,
             o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
    return room;
}

static void print_command(const struct tg_command *command)
{
    char room[48];
    const struct tg_option *options = command->options;
    printf("usage: tidegate %s%s%s", command->name, command->operands[0] ? " " : "",
           command->operands);
    for (const struct tg_option *o = options; o != NULL && o->name != NULL; o++)
        printf(" [%s]", spell(o, room));
    printf("\n\n%s\n", command->summary);
    for (const struct tg_option *o = options; o != NULL && o->name != NULL; o++)
        printf("%s  %-17s %s\n", o == options ? "\n" : "", spell(o, room), o->help);
    if (command->details != NULL)
        printf("\n%s", command->details);
}

static int help(const struct tg_args *args)
{
    if (args->operand_count == 0) {
        print_overview();
        return TG_EXIT_OK;
    }
    const struct tg_command *command = tg_args_find_command(tg_commands, args->operands[0]);
    if (command == NULL) {
        tg_args_unknown_command(tg_commands, args->operands[0], stderr);
        return TG_EXIT_USAGE;
    }
    print_command(command);
    return TG_EXIT_OK;
}

const struct tg_command tg_command_help = {
    .name = "help",
    .operands = "[COMMAND]",
    .max_operands = 1,
    .summary = "list the commands, or explain one",
    .run = help,
};
