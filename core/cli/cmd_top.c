/* cmd_top.c: `tidegate top [--once]`. The gateway and its plugins, drawn anew each second.
 *
 * On a terminal each table replaces the one before; elsewhere they follow one another with an empty
 * line between. SIGINT and SIGTERM end it between two tables, with exit status 0. */
#include "base/banned.h"
#include "cli/command.h"

#include "cli/report.h"
#include "cli/show.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { OPTION_ONCE = TG_SHOW_OPTIONS_END };

#define HOME_AND_CLEAR "\033[H\033[J"

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
    (void)signo;
    interrupted = 1;
}

/* Lets SIGINT and SIGTERM end the wait instead of the program. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int repeat(const struct tg_ask *ask, const struct tg_show *show, struct tg_report *report)
{
    const struct timespec second = {.tv_sec = 1};
    bool terminal = isatty(STDOUT_FILENO) == 1;
    int status = TG_EXIT_OK;
    catch_signals();
    while (!interrupted && status == TG_EXIT_OK) {
        if (terminal)
            fputs(HOME_AND_CLEAR, stdout);
        status = tg_show_once(ask, show, report, NULL);
        if (!terminal && report != NULL)
            putchar('\n');
        if (fflush(stdout) != 0) /* whoever read it is gone */
            return TG_EXIT_SYSTEM;
        if (!interrupted && status == TG_EXIT_OK)
            nanosleep(&second, NULL);
    }
    return status;
}

static int top(const struct tg_args *args)
{
    static const struct tg_show show = {"top", {"/status", "/plugins"}};
    struct tg_ask ask;
    struct tg_report *report = NULL;
    int status = tg_ask_find(args, &ask);
    if (status != TG_EXIT_OK)
        return status;
    bool json = (args->options & 1u << TG_SHOW_OPTION_JSON) != 0;
    if (!json && tg_report_new(show.report, &report) != TG_OK)
        return TG_EXIT_SYSTEM;
    if ((args->options & 1u << OPTION_ONCE) != 0)
        status = tg_show_once(&ask, &show, report, NULL);
    else
        status = repeat(&ask, &show, report);
    tg_report_free(&report);
    return status;
}

static const struct tg_option options[] = {
    TG_SHOW_OPTIONS,
    {"once", "print one table and end", NULL},
    {NULL, NULL, NULL},
};

const struct tg_command tg_command_top = {
    .name = "top",
    .operands = "",
    .options = options,
    .summary = "watch the plugins of a running gateway, second by second",
    .details =
        "The largest heap first; rates are over the last second. With --json: the answers of\n"
        "/status and /plugins, a line each, every second.\n",
    .run = top,
};
