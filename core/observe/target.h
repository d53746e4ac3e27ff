/* target.h: the places that log lines go to: a stream, a file, syslog.
 *
 * A target knows how to open a destination and how to hand it lines so that none is torn; it keeps
 * no line itself and never waits for room. Who queues lines and when they are written is sink.h.
 *
 *   "stdout", "stderr"            the process's own descriptors, left in the mode they are in
 *   "syslog"                      "syslog:unix:/dev/log"
 *   "syslog:unix:PATH"            datagrams in the local BSD form:
 *                                 "<30>Jan  1 00:00:00 tidegate[7]: "
 *   "syslog:udp:ADDRESS:PORT"     datagrams in the form of RFC 5424; a numeric address, "[::1]:514"
 *   anything else                 the path of a file or FIFO, opened for appending, mode 0640
 *
 * One thread at a time uses a target. SIGPIPE must be blocked or ignored in it.
 */
#ifndef TG_OBSERVE_TARGET_H
#define TG_OBSERVE_TARGET_H

#include "base/err.h"

#include <sys/socket.h>

enum tg_target_kind {
    TG_TARGET_STREAM, /* pipe, terminal, socket: takes bytes when it likes */
    TG_TARGET_FILE,   /* regular file: takes all of them, or has no space */
    TG_TARGET_SYSLOG_UNIX,
    TG_TARGET_SYSLOG_UDP
};

struct tg_target {
    enum tg_target_kind kind;
    int fd;           /* -1: syslog that is not connected at the moment */
    const char *path; /* into the spec: what is opened again; NULL for stdout and stderr */
    bool socket;      /* a stream that is a socket */
    struct sockaddr_storage address; /* syslog */
    socklen_t address_size;
};

/* Opens what `spec` names (borrowed, must outlive the target). TG_E_INVALID for a syslog spec that
 * cannot be read; TG_E_SYSTEM when the destination does not open, and errno says why. A syslog
 * socket that nobody listens on yet is no error: it is tried again at each write. */
enum tg_err tg_target_init(struct tg_target *t, const char *spec) TG_MUST_USE;

/* True: a file that is not there is not made; the target opens all the same where its folder would
 * take a file, and writes nowhere. For a process that only finds out whether a configuration would
 * do, whose user need not be the gateway's. To be called while there are no targets. */
void tg_target_make_nothing(bool nothing);

/* Closes the descriptor, except stdout and stderr. */
void tg_target_release(struct tg_target *t);

/* Opens the path anew, after somebody moved the file away, and connects syslog again. On
 * TG_E_SYSTEM the old file stays in use. Streams without a path are left alone. */
enum tg_err tg_target_reopen(struct tg_target *t) TG_MUST_USE;

/* Offers `n` bytes at `p`: whole lines, but for the first, whose beginning may be written already
 * (streams and files only). `*done` is how many bytes were taken, n at most.
 *
 *   TG_OK         *done > 0; call again for the rest
 *   TG_E_AGAIN    no room now: poll the descriptor for POLLOUT
 *   TG_E_RESET    nobody reads any more
 *   TG_E_LIMIT    the first line is too long for a datagram and will never pass
 *   TG_E_SYSTEM   does not work at the moment, errno says why; try later
 *
 * Streams get at most PIPE_BUF bytes at a time, cut behind a newline: POLLOUT promises a pipe that
 * much, so even one in blocking mode does not block, and such a write is atomic, so lines of
 * several processes on one pipe stay whole. */
enum tg_err tg_target_write(struct tg_target *t, const char *p, size_t n, size_t *done) TG_MUST_USE;

#endif
