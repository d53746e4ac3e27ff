/* args.c: reading a command line, and saying what was meant where a word of it is not known. */
#include "base/banned.h"
#include "cli/args.h"

#include "base/assert.h"
#include "base/guess.h"
#include "cli/command.h"

const struct tg_command *tg_args_find_command(const struct tg_command *const *commands,
                                              const char *name)
{
    for (; *commands != NULL; commands++) {
        if (strcmp((*commands)->name, name) == 0)
            return *commands;
    }
    return NULL;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

void tg_args_unknown_command(const struct tg_command *const *commands, const char *name, FILE *err)
{
    const struct tg_command *nearest = NULL;
    unsigned best = TG_GUESS_NONE;
    for (; *commands != NULL; commands++) {
        unsigned rank = tg_guess_rank(name, (*commands)->name);
        if (rank < best) {
            best = rank;
            nearest = *commands;
        }
    }
    fprintf(err, "tidegate: unknown command \"%s\"; ", name);
    if (ends_with(name, ".lua"))
        fprintf(err, "to serve that file: tidegate run %s; ", name);
    else if (nearest != NULL)
        fprintf(err, "did you mean \"%s\"? ", nearest->name);
    fputs("`tidegate help` lists the commands\n", err);
}

static void unknown_option(const struct tg_command *command, const char *word, FILE *err)
{
    const char *bare = word + strspn(word, "-");
    const char *nearest = NULL;
    unsigned best = TG_GUESS_NONE;
    for (const struct tg_option *o = command->options; o != NULL && o->name != NULL; o++) {
        unsigned rank = tg_guess_rank(bare, o->name);
        if (rank < best) {
            best = rank;
            nearest = o->name;
        }
    }
    fprintf(err, "tidegate %s: unknown option \"%s\"; ", command->name, word);
    if (nearest != NULL)
        fprintf(err, "did you mean \"%s%s\"? ", nearest[1] == '\0' ? "-" : "--", nearest);
    fprintf(err, "`tidegate help %s` lists the options\n", command->name);
}

/* Whether `word` ("--single", "--admin=ADDRESS") is `option`; *value then is what follows "=". */
static bool is_option(const struct tg_option *option, const char *word, const char **value)
{
    size_t n = strlen(option->name);
    size_t dashes = n == 1 ? 1 : 2;
    if (strncmp(word, "--", dashes) != 0 || strncmp(word + dashes, option->name, n) != 0)
        return false;
    char next = word[dashes + n];
    *value = next == '=' && option->value != NULL ? word + dashes + n + 1 : NULL;
    return next == '\0' || *value != NULL;
}

/* Notes that option `o` was given with its value. */
static enum tg_err note_given(struct tg_args *args, unsigned o, FILE *err)
{
    if (args->values[o] == NULL)
        return TG_OK;
    if (args->given_count == TG_ARGS_GIVEN_MAX) {
        fprintf(err, "tidegate %s: more than %d options with a value\n", args->command->name,
                TG_ARGS_GIVEN_MAX);
        return TG_E_INVALID;
    }
    args->given[args->given_count].option = o;
    args->given[args->given_count++].value = args->values[o];
    return TG_OK;
}

/* Notes the option argv[*i], and passes its value where that is a word of its own. */
static enum tg_err take_option(struct tg_args *args, int argc, char *const *argv, int *i, FILE *err)
{
    const struct tg_option *options = args->command->options;
    const char *word = argv[*i];
    for (unsigned o = 0; options != NULL && options[o].name != NULL; o++) {
        const char *value;
        if (!is_option(&options[o], word, &value))
            continue;
        tg_assert(o < TG_ARGS_OPTIONS_MAX);
        if (options[o].value != NULL && value == NULL && *i + 1 < argc)
            value = argv[++*i];
        if (options[o].value != NULL && value == NULL) {
            const char *dashes = options[o].name[1] == '\0' ? "-" : "--";
            fprintf(err, "tidegate %s: %s%s needs a value: %s%s %s\n", args->command->name, dashes,
                    options[o].name, dashes, options[o].name, options[o].value);
            return TG_E_INVALID;
        }
        args->options |= 1u << o;
        args->values[o] = value;
        return note_given(args, o, err);
    }
    unknown_option(args->command, word, err);
    return TG_E_INVALID;
}

static enum tg_err take_operand(struct tg_args *args, const char *word, FILE *err)
{
    tg_assert(args->command->max_operands <= TG_ARGS_OPERANDS_MAX);
    if (args->operand_count < args->command->max_operands) {
        args->operands[args->operand_count++] = word;
        return TG_OK;
    }
    const char *operands = args->command->operands;
    fprintf(err, "tidegate %s: \"%s\" is one word too many; usage: tidegate %s%s%s\n",
            args->command->name, word, args->command->name, operands[0] != '\0' ? " " : "",
            operands);
    return TG_E_INVALID;
}

/* The word that picks the command, with the options that stand for one spelled out. */
static const char *command_word(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return "help";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        return "version";
    return word;
}

/* Turns "COMMAND --help" into "help COMMAND". */
static void ask_for_help(const struct tg_command *const *commands, struct tg_args *args)
{
    const char *topic = args->command->name;
    *args = (struct tg_args){.command = tg_args_find_command(commands, "help")};
    tg_assert(args->command != NULL);
    args->operands[args->operand_count++] = topic;
}

enum tg_err tg_args_parse(const struct tg_command *const *commands, int argc, char *const *argv,
                          struct tg_args *out, FILE *err)
{
    *out = (struct tg_args){0};
    if (argc < 2) {
        fputs("tidegate: a command is missing; `tidegate help` lists the commands\n", err);
        return TG_E_INVALID;
    }
    out->command = tg_args_find_command(commands, command_word(argv[1]));
    if (out->command == NULL) {
        tg_args_unknown_command(commands, argv[1], err);
        return TG_E_INVALID;
    }
    bool options = true;
    enum tg_err result = TG_OK;
    if (out->command->reads_words) {
        out->words = argv + 2;
        out->word_count = argc - 2;
        if (argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
            ask_for_help(commands, out);
        return TG_OK;
    }
    for (int i = 2; i < argc && result == TG_OK; i++) {
        const char *word = argv[i];
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            ask_for_help(commands, out);
            break;
        } else if (options && word[0] == '-' && word[1] != '\0') {
            result = take_option(out, argc, argv, &i, err);
        } else {
            result = take_operand(out, word, err);
        }
    }
    return result;
}
