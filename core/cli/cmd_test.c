/* cmd_test.c: `tidegate test [busted options] [files]`. The program brings the interpreter, the
 * gateway under test and the module tidegate.test; busted itself is the one that is installed. */
#include "base/banned.h"
#include "cli/command.h"

#include "harness/host.h"

static int test(const struct tg_args *args)
{
    return tg_host_run("tidegate.test.runner", args->word_count, args->words);
}

const struct tg_command tg_command_test = {
    .name = "test",
    .operands = "[ARG...]",
    .reads_words = true,
    .summary = "run the specs of plugins and configurations",
    .details =
        "Runs busted (Debian: lua-busted) on the files or folders, or on spec/. Specs require\n"
        "\"tidegate.test\"; plugins under test run on the code that serves production, without a\n"
        "network, on a clock that the spec turns.\n"
        "\n"
        "  --timeout=SECONDS   wall time that one test, with its before_each, may take (10)\n"
        "  --junit[=FILE]      results as JUnit XML\n"
        "  --coverage          print which lines of the plugins were run\n"
        "  --interleave        run each request of p:run twice, in turns, and report module\n"
        "                      tables of the plugin that both wrote\n"
        "  --record=FILE.har   write all requests and answers as an HTTP archive\n"
        "\n"
        "All other options are busted's: `tidegate test --help-busted` lists them. Exit status: 0\n"
        "when everything passed, 1 otherwise.\n",
    .run = test,
};
