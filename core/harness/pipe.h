/* pipe.h: one end of a socket pair, as a spec holds it: bytes in, bytes out, an end or a reset.
 *
 * Everything is at once and without waiting: the other end is served by the same thread.
 *
 * A reset is what the other end reads as ECONNRESET. On a socket pair that happens when an end is
 * closed while bytes wait in it unread; so reading leaves the last byte in the kernel (`held`),
 * having handed it out, and tg_pipe_reset() closes on top of it. An end that never received a byte
 * cannot reset; its peer sees an ordinary end.
 */
#ifndef TG_HARNESS_PIPE_H
#define TG_HARNESS_PIPE_H

#include "base/err.h"

#include <stddef.h>

struct tg_pipe {
    int fd;    /* owned; -1: closed */
    bool held; /* the first byte in the kernel has been handed out */
};

/* Two connected ends, non-blocking. TG_E_SYSTEM or TG_E_LIMIT (descriptors). */
enum tg_err tg_pipe_pair(int fds[2]) TG_MUST_USE;

/* Takes over `fd`. */
void tg_pipe_open(struct tg_pipe *pipe, int fd);
void tg_pipe_close(struct tg_pipe *pipe);

/* Sends what the kernel takes of `n` bytes; *sent says how many. TG_E_CLOSED, TG_E_RESET: the other
 * end is gone. */
enum tg_err tg_pipe_send(struct tg_pipe *pipe, const char *p, size_t n, size_t *sent) TG_MUST_USE;

/* Reads up to `cap` (> 1) bytes. TG_OK with *n > 0; TG_E_AGAIN; TG_E_CLOSED; TG_E_RESET. */
enum tg_err tg_pipe_receive(struct tg_pipe *pipe, char *p, size_t cap, size_t *n) TG_MUST_USE;

/* Ends our direction; the other goes on. */
void tg_pipe_finish(struct tg_pipe *pipe);

/* Closes so that the other end sees a reset, see above. */
void tg_pipe_reset(struct tg_pipe *pipe);

#endif
