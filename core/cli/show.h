/* show.h: what the commands that ask a gateway have in common: ask, then print a table or the JSON.
 *
 * One thread; blocking; costs a connection for each path, and a Lua state unless it is --json.
 */
#ifndef TG_CLI_SHOW_H
#define TG_CLI_SHOW_H

#include "cli/ask.h"

#define TG_SHOW_PATHS_MAX 2

struct tg_report;

struct tg_show {
    const char *report;                   /* of lua/tidegate/report/ */
    const char *paths[TG_SHOW_PATHS_MAX]; /* of the admin listener; NULL: none */
};

/* Runs a command whose options are TG_ASK_OPTIONS and then --json, with its operand, if there is
 * one, for the report. Returns the exit status. */
int tg_show_run(const struct tg_args *args, const struct tg_show *show);

/* Runs a command whose options begin with TG_ASK_OPTIONS: gives the order `path` to a gateway and
 * prints what became of it. The exit status: TG_EXIT_CONFIG when it was refused. */
int tg_show_order(const struct tg_args *args, const char *path);

/* Asks `ask` and prints once: by `report`, or as JSON, a line an answer, where that is NULL. */
int tg_show_once(const struct tg_ask *ask, const struct tg_show *show, struct tg_report *report,
                 const char *operand);

enum { TG_SHOW_OPTION_JSON = TG_ASK_OPTIONS_END, TG_SHOW_OPTIONS_END };

#define TG_SHOW_OPTIONS                                                                            \
    TG_ASK_OPTIONS,                                                                                \
    {                                                                                              \
        "json", "print the gateway's answer as it came", NULL                                      \
    }

#endif
