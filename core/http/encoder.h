/* encoder.h: the content codings gzip, br and zstd, applied as bytes come in; and the pool that
 * lends what does it.
 *
 *   tg_encoder_lease -> { tg_encoder_step(MORE | FLUSH) } -> tg_encoder_step(END)
 *                    -> tg_encoder_return
 *
 * Memory. What a coding may take at most is known (tg_encoder_bytes), whatever level and data,
 * since windows and tables are fixed: 32 KiB of window for gzip, 64 KiB for br, 128 KiB for zstd.
 * All encoders are charged to TG_MEM_ENCODER, and each lease sets its most aside from what that
 * account may hold, so no encoder runs out in the middle of an answer; there is none to lease
 * instead.
 *
 * What costs, the library's state, comes with an encoder's first step, and a pool keeps what came
 * back: those of gzip and zstd are reset instead of made anew (the library of br cannot reset), and
 * the one that came last is used first, while it is in the processor's cache. Of those that nobody
 * needed for a while one goes at each tidying; where the account is full, idle ones go before a
 * lease fails.
 *
 * Threads: a pool and its encoders belong to one thread; what is set aside is counted for all.
 */
#ifndef TG_HTTP_ENCODER_H
#define TG_HTTP_ENCODER_H

#include "base/err.h"
#include "base/list.h"
#include "http/coding.h"

#define TG_ENCODER_LEVEL_MAX 9                  /* the least is 1 */
#define TG_ENCODER_ROOM_MIN  64                 /* least room of a step, bytes */
#define TG_ENCODER_IDLE_MAX  ((size_t)16 << 20) /* bytes of idle ones that a pool keeps */

struct tg_encoder;

struct tg_encoder_pool {
    struct tg_list idle; /* of codecs; the one that came back last is the first */
    uint32_t idle_count;
    uint32_t spare;    /* the fewest that were idle since the last tidying */
    size_t idle_bytes; /* at most, as set aside */
    uint32_t leased;
};

/* What becomes of the bytes of a step. */
enum tg_encoder_op {
    TG_ENCODER_MORE,  /* others follow: kept back as long as that helps */
    TG_ENCODER_FLUSH, /* the reader gets all of them now */
    TG_ENCODER_END    /* they are the last */
};

/* Whether bodies can be brought into `coding`; its usual level. */
bool tg_encoder_knows(enum tg_coding coding);
int tg_encoder_level(enum tg_coding coding);

/* The most memory that an encoder of that coding takes, bytes. */
size_t tg_encoder_bytes(enum tg_coding coding);

void tg_encoder_pool_init(struct tg_encoder_pool *pool);

/* Frees the idle ones; nothing may be leased. */
void tg_encoder_pool_release(struct tg_encoder_pool *pool);

/* Frees the idle ones. */
void tg_encoder_pool_trim(struct tg_encoder_pool *pool);

/* Frees one, unless all were in use at once since the last call. To be called regularly. */
void tg_encoder_pool_tidy(struct tg_encoder_pool *pool);

/* An encoder at its beginning, with its memory set aside, of a coding that is known, level 1..9 (br
 * knows no more than 8). TG_E_LIMIT: the account has no room for it; TG_E_NOMEM. */
enum tg_err tg_encoder_lease(struct tg_encoder_pool *pool, enum tg_coding coding, int level,
                             struct tg_encoder **out) TG_MUST_USE;

/* Gives it back, whatever it did, and nulls the caller's pointer; NULL is fine. */
void tg_encoder_return(struct tg_encoder_pool *pool, struct tg_encoder **encoder);

/* Takes bytes off the front of `*in` and writes at most `room` bytes (at least
 * TG_ENCODER_ROOM_MIN); *n is how many. *more: there is more of this step: call again with what is
 * left of `*in` and the same `op`. After an END without more nothing may follow. TG_E_NOMEM. */
enum tg_err tg_encoder_step(struct tg_encoder *encoder, enum tg_encoder_op op, struct tg_str *in,
                            char *out, size_t room, size_t *n, bool *more) TG_MUST_USE;

#endif
