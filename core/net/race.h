/* race.h: a second attempt to connect beside the first (RFC 8305): to the same by another family of
 * addresses.
 *
 *   first    connect ----------------------------- stands: the other one is dropped
 *               |            \
 *               | DELAY       '-- fails: the second begins at once, or goes on alone
 *   second      '----------- connect ------------- stands: its socket becomes the connection's
 *
 * What was queued or given as transport belongs to the connection, and so to whoever wins. When
 * both fail, the error is that of the first. The time to connect is the owner's, for both together.
 *
 * Part of net/conn, which owns it while it connects; tg_conn_race() begins it. One thread.
 */
#ifndef TG_NET_RACE_H
#define TG_NET_RACE_H

#include "net/conn.h"

#define TG_RACE_DELAY (250 * TG_USEC_PER_MSEC)

struct tg_race {
    struct tg_conn *conn; /* borrowed */
    struct tg_addr addr;
    struct tg_timer timer;
    ev_io io;
    int fd; /* -1: not begun, or over */
    bool failed;
    bool first_failed;
    enum tg_err first_error;
};

/* NULL: no memory. */
struct tg_race *tg_race_new(struct tg_conn *conn, const struct tg_addr *addr) TG_MUST_USE;
void tg_race_free(struct tg_race **race);

/* The first attempt has failed; true: the second goes on. */
bool tg_race_goes_on(struct tg_race *race, enum tg_err err);

#endif
