/* report.h: an answer of the admin listener as a table for people.
 *
 * The answers are JSON and the tables are Lua: lua/tidegate/report/NAME.lua returns a function that
 * gets the decoded answers and the operand, and returns the text. It runs in a state of its own
 * with the plain library; `top` calls it again and again, so it may keep what it saw last.
 *
 * One thread; costs a Lua state.
 */
#ifndef TG_CLI_REPORT_H
#define TG_CLI_REPORT_H

#include "base/err.h"
#include "base/str.h"

#include <stdio.h>

struct tg_report;

/* Loads lua/tidegate/report/`name`.lua. TG_E_NOMEM, TG_E_SCRIPT: told on stderr. */
enum tg_err tg_report_new(const char *name, struct tg_report **out) TG_MUST_USE;

void tg_report_free(struct tg_report **report);

/* Prints what the function makes of `answers` (JSON, `count` of them) and `operand` (may be NULL).
 * TG_E_SCRIPT: told on stderr; TG_E_NOT_FOUND: what the operand names is not there, told as well.
 */
enum tg_err tg_report_print(struct tg_report *report, const struct tg_str *answers, unsigned count,
                            const char *operand, FILE *out) TG_MUST_USE;

#endif
