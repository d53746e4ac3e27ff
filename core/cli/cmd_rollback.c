/* cmd_rollback.c: `tidegate rollback [REV]`. Has a running gateway go back to an earlier
 * configuration. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/show.h"

static int rollback(const struct tg_args *args)
{
    char path[64] = "/rollback";
    const char *operand = args->operands[0];
    uint64_t revision;
    if (operand != NULL) {
        if (!tg_str_to_u64(tg_str_c(operand), &revision) || revision == 0 ||
            revision > UINT32_MAX) {
            fprintf(stderr,
                    "tidegate rollback: \"%s\" is no revision; `tidegate status` lists them\n",
                    operand);
            return TG_EXIT_USAGE;
        }
        snprintf(path, sizeof(path), "/rollback?revision=%u", (unsigned)revision);
    }
    return tg_show_order(args, path);
}

static const struct tg_option options[] = {
    TG_ASK_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_rollback = {
    .name = "rollback",
    .operands = "[REVISION]",
    .max_operands = 1,
    .options = options,
    .summary = "have a running gateway go back to an earlier configuration",
    .details =
        "Without a number: to the one before. The last 10 are kept, in memory, with the files, "
        "the\n"
        "environment and the secrets as they were read then; `tidegate status` lists them. The\n"
        "files on disk stay as they are, so the next reload takes them over again.\n"
        "\n"
        "exit status: 0 it is in force, 1 it is not kept or cannot be taken over, 3 no gateway "
        "could\n"
        "be asked.\n",
    .run = rollback,
};
