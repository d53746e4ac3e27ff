/* err.h: the one error type of the core.
 *
 * Functions that can fail return `enum tg_err`: TG_OK is 0, failures are negative; results leave
 * by out-parameters, last. Verdicts about flow ("next", "wait", "stop") are enums of their own.
 */
#ifndef TG_BASE_ERR_H
#define TG_BASE_ERR_H

#include "base/defs.h"

enum tg_err_index {
#define TG_ERR(name, text) TG_ERR_INDEX_##name,
#include "base/err.def"
#undef TG_ERR
    TG_ERR_COUNT
};

enum tg_err {
    TG_OK = 0,
#define TG_ERR(name, text) TG_E_##name = -1 - TG_ERR_INDEX_##name,
#include "base/err.def"
#undef TG_ERR
};

/* Text of `err` for logs, static storage, never NULL; "ok" for TG_OK. */
const char *tg_err_text(enum tg_err err);

/* Identifier such as "TIMEOUT" for fields that programs read; static storage, never NULL. */
const char *tg_err_name(enum tg_err err);

/* The code that stands for `sys_errno` as socket calls set it; TG_E_SYSTEM when none fits. */
enum tg_err tg_err_from_errno(int sys_errno);

#endif
