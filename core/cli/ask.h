/* ask.h: how commands ask a running gateway, or give it an order: one exchange with its admin
 * listener.
 *
 * Where that is, --admin says; otherwise the configuration does, which is read as `check` reads it.
 * Blocking and bounded: TG_ASK_TIMEOUT for the whole answer, TG_ASK_ORDER_TIMEOUT for that to an
 * order, which may take two evaluations; TG_ASK_BYTES of it. What goes wrong is told on stderr,
 * with what to do about it.
 */
#ifndef TG_CLI_ASK_H
#define TG_CLI_ASK_H

#include "base/clock.h"
#include "cli/command.h"

#include "admin/address.h"

#define TG_ASK_TIMEOUT       (5 * TG_USEC_PER_SEC)
#define TG_ASK_ORDER_TIMEOUT (60 * TG_USEC_PER_SEC)
#define TG_ASK_BYTES         ((size_t)32 << 20)

/* Options that all of these commands have, first in their lists and in this order. */
#define TG_ASK_OPTIONS                                                                             \
    {"admin", "where the gateway is asked: unix:PATH or IP:PORT", "ADDRESS"},                      \
    {                                                                                              \
        "config", "the configuration that says where (gateway.lua)", "FILE"                        \
    }
enum { TG_ASK_OPTION_ADMIN, TG_ASK_OPTION_CONFIG, TG_ASK_OPTIONS_END };

/* Whom to ask. */
struct tg_ask {
    const char *command; /* for messages; borrowed */
    char text[sizeof("unix:") + TG_ADMIN_PATH_MAX];
    struct tg_admin_address address;
};

/* An answer; `text` is owned, free it with tg_ask_answer_release(). */
struct tg_ask_answer {
    unsigned status;
    char *text;
    size_t n;
};

/* Finds out whom to ask. TG_EXIT_OK, or the exit status. */
int tg_ask_find(const struct tg_args *args, struct tg_ask *out);

/* Gets `path`. TG_EXIT_OK whatever the status of the answer, or the exit status. */
int tg_ask_get(const struct tg_ask *ask, const char *path, struct tg_ask_answer *out);

/* Gives an order: POSTs to `path`. As tg_ask_get(). */
int tg_ask_order(const struct tg_ask *ask, const char *path, struct tg_ask_answer *out);

void tg_ask_answer_release(struct tg_ask_answer *answer);

#endif
