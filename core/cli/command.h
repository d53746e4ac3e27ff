/* command.h: what a command of the program is, and the list of them.
 *
 * A command is one file, core/cli/cmd_<name>.c, that defines one `const struct tg_command` with its
 * options, its help and its function; and one line in commands.def, which brings it into the
 * program, into `tidegate help` and into the suggestions for mistyped words.
 *
 * Everything here is constant.
 */
#ifndef TG_CLI_COMMAND_H
#define TG_CLI_COMMAND_H

#include "cli/args.h"

/* What the program's exit status says, for every command; printed by `tidegate help`. */
enum tg_exit {
    TG_EXIT_OK = 0,     /* done as asked */
    TG_EXIT_CONFIG = 1, /* the configuration has mistakes; they stand on stderr */
    TG_EXIT_USAGE = 2,  /* the command line is not understood */
    TG_EXIT_SYSTEM = 3  /* the system refused something: an address, memory, a process */
};

/* The configuration that is read where none is named. */
#define TG_COMMAND_CONFIG "gateway.lua"

/* A flag, such as --single, or an option with a value, such as --admin ADDRESS. */
struct tg_option {
    const char *name;  /* without the dashes; NULL ends a list */
    const char *help;  /* one line */
    const char *value; /* what follows, for the help: "ADDRESS"; NULL: a flag */
};

struct tg_command {
    const char *name;
    const char *operands;  /* for the usage line: "[FILE]", or "" */
    unsigned max_operands; /* at most TG_ARGS_OPERANDS_MAX */
    bool reads_words;      /* it reads its command line itself: args->words */
    const struct tg_option
        *options;        /* ended by a NULL name, at most TG_ARGS_OPTIONS_MAX; NULL: none */
    const char *summary; /* one line for the list of commands */
    const char *details; /* text of `tidegate help NAME`, ended by a newline; or NULL */
    int (*run)(const struct tg_args *args); /* returns the exit status */
};

#define TG_COMMAND(name) extern const struct tg_command tg_command_##name;
#include "cli/commands.def"
#undef TG_COMMAND

/* All commands in the order of commands.def, ended by NULL. */
extern const struct tg_command *const tg_commands[];

#endif
