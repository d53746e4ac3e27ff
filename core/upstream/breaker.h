/* breaker.h: a circuit breaker: asks nothing of an origin that fails too often, then tries a few.
 *
 *            ratio of failures, volume reached            cooldown is over
 *   CLOSED ------------------------------------> OPEN ----------------------> HALF_OPEN
 *      ^                                          ^                             |   |
 *      |          `probes` of them went well      +------ one of them failed ---+   |
 *      +----------------------------------------------------------------------------+
 *
 * HALF_OPEN lets `probes` requests through at a time, no more. A probe whose outcome never comes
 * (its request was dropped elsewhere) is given up after another cooldown, so that a lost one cannot
 * keep the breaker half open for ever.
 *
 * A value: no memory, no clock of its own; whoever shares one locks it. Cost: some 10 ns.
 */
#ifndef TG_UPSTREAM_BREAKER_H
#define TG_UPSTREAM_BREAKER_H

#include "upstream/window.h"

enum tg_breaker_state { TG_BREAKER_CLOSED, TG_BREAKER_OPEN, TG_BREAKER_HALF_OPEN };

struct tg_breaker_conf {
    double ratio;    /* of failures that opens it, above 0 and at most 1; 0: there is no breaker */
    uint32_t volume; /* outcomes in the window before the ratio counts */
    uint64_t window; /* us */
    uint64_t cooldown; /* us that it stays open */
    uint32_t probes;   /* let through at a time, and to succeed, while half open */
};

struct tg_breaker {
    enum tg_breaker_state state;
    uint64_t since; /* us: when it came into this state, or the last probe went out */
    uint32_t out;   /* probes under way */
    uint32_t passed;
    uint64_t opened; /* times so far */
    struct tg_window window;
};

/* May a request go at `now` (us)? *probe: its outcome decides, and must be told. */
bool tg_breaker_allow(struct tg_breaker *breaker, const struct tg_breaker_conf *conf, uint64_t now,
                      bool *probe) TG_MUST_USE;

/* The same question without taking a probe's place. */
bool tg_breaker_would_allow(const struct tg_breaker *breaker, const struct tg_breaker_conf *conf,
                            uint64_t now);

/* What became of an allowed request. True: the breaker has opened with it. */
bool tg_breaker_record(struct tg_breaker *breaker, const struct tg_breaker_conf *conf, uint64_t now,
                       bool good, bool probe);

/* An allowed request did not go after all, or its end says nothing about the origin. */
void tg_breaker_cancel(struct tg_breaker *breaker, bool probe);

/* The state as it is at `now`: open, though its time is over, until somebody asks. */
const char *tg_breaker_label(enum tg_breaker_state state);

#endif
