/* args.h: reading a command line.
 *
 *     tidegate COMMAND [--option...] [operand...]
 *
 * Options may stand anywhere after the command; after "--" everything is an operand. Most are
 * flags; where one has a value, that is the next word or follows "=". A name of one letter is
 * written with one dash: -H.
 * `--help` after a command asks for its help; `--help`, `-h`, `--version` and `-V` alone stand for
 * the commands of those names. What is not understood is explained in one line, with the nearest
 * word that would have been.
 *
 * Nothing is copied: what comes out points into argv and into the table of commands.
 */
#ifndef TG_CLI_ARGS_H
#define TG_CLI_ARGS_H

#include "base/err.h"

#include <stdio.h>

struct tg_command;

#define TG_ARGS_OPERANDS_MAX 4
#define TG_ARGS_OPTIONS_MAX  8
#define TG_ARGS_GIVEN_MAX    32 /* options with a value on one command line */

struct tg_args {
    const struct tg_command *command;
    const char *operands[TG_ARGS_OPERANDS_MAX]; /* borrowed from argv; NULL where not given */
    unsigned operand_count;
    unsigned options;                        /* bit i: option i of the command was given */
    const char *values[TG_ARGS_OPTIONS_MAX]; /* of option i, borrowed from argv; NULL: not given */
    /* Options with a value as they came, for those that may be given more than once. */
    struct {
        unsigned option;
        const char *value;
    } given[TG_ARGS_GIVEN_MAX];
    unsigned given_count;
    char *const
        *words; /* of a command that reads its own: all after its name, borrowed from argv */
    int word_count;
};

/* Reads argv[1] onwards by the NULL-terminated table `commands`. TG_E_INVALID when it is not
 * understood; one line on `err` then says why. */
enum tg_err tg_args_parse(const struct tg_command *const *commands, int argc, char *const *argv,
                          struct tg_args *out, FILE *err) TG_MUST_USE;

/* The command called `name`, or NULL. */
const struct tg_command *tg_args_find_command(const struct tg_command *const *commands,
                                              const char *name);

/* Tells on `err` that there is no command `name`, and which one may have been meant. */
void tg_args_unknown_command(const struct tg_command *const *commands, const char *name, FILE *err);

#endif
