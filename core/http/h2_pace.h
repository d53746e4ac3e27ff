/* h2_pace.h: how wide the windows of a connection of HTTP/2 are to be, by what its path holds.
 *
 * While a body fills the window that it has, a PING measures how many bytes of bodies are taken
 * within a round trip: by a reader that keeps up that is what the path carries, by one that does
 * not its own pace. Where it is most of the window, the window becomes twice that, up to `most`.
 *
 *   64 KiB --- a window of bytes in a round trip ---> twice what came ---> ... ---> most
 *
 * Pure: the owner sends the PING, and sets the windows. One thread. */
#ifndef TG_HTTP_H2_PACE_H
#define TG_HTTP_H2_PACE_H

#include "base/defs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_H2_WINDOW  65536u /* of a stream, at first */
#define TG_H2_MEASURE 2u     /* first byte of a PING that measures */

struct tg_h2_pace {
    uint32_t window; /* of a stream that is read without a pause */
    uint32_t most;   /* TG_H2_WINDOW at least */

    /* private */
    uint32_t came; /* bytes since the PING went */
    bool asked;    /* it is out */
    uint64_t at;   /* us: when it went */
};

_Static_assert(sizeof(struct tg_h2_pace) <= 24, "every connection of a client has one");

void tg_h2_pace_init(struct tg_h2_pace *pace, uint64_t most);

/* `n` bytes of bodies were taken at `now`; `large`: of one that may want a wider window. True: a
 * PING that measures is to go. */
bool tg_h2_pace_count(struct tg_h2_pace *pace, size_t n, bool large, uint64_t now);

/* The answer to it is there. */
enum tg_h2_pace_step {
    TG_H2_PACE_KEPT,
    TG_H2_PACE_GROWN,
    TG_H2_PACE_FULL, /* grown, and would have beyond `most` */
};
enum tg_h2_pace_step tg_h2_pace_measured(struct tg_h2_pace *pace);

#endif
