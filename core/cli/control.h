/* control.h: what supervisor and gateway process tell each other.
 *
 * The channel is a pair of SOCK_SEQPACKET sockets made before the fork: messages arrive whole, in
 * order, with descriptors attached (SCM_RIGHTS). Neither end ever blocks: a full queue is an error
 * for the sender.
 *
 *     supervisor to gateway   SOCKETS   the sockets of a listener that the next RELOAD will need
 *                             RELOAD    change over to the configuration whose sources come with it
 *                             SETTLED   what became of an order or a SIGHUP that led to no RELOAD
 *                             REOPEN    open the log files anew
 *                             DRAIN     accept no more, let open requests end, then end
 *                             STOP      end now
 *     gateway to supervisor   READY     the workers accept connections
 *                             RELOADED  how the RELOAD of that id went
 *                             ORDER     somebody asks through the admin listener for a reload
 *
 * The gateway process reads all its orders from one descriptor, tg_boot.control_fd, whatever their
 * origin: signals that it handles itself become the same messages (cli/signals.h), and `run
 * --single` has the channel too, with nobody at the other end.
 *
 * On the wire: 32-bit fields in the machine's order (magic, version, type, id, err, number of
 * descriptors, length of the text, order, what, revision, origin, outcome), then the text. Both
 * ends are on one machine; the version is for a binary that takes over from an older one.
 */
#ifndef TG_CLI_CONTROL_H
#define TG_CLI_CONTROL_H

#include "base/err.h"
#include "base/str.h"
#include "config/order.h"
#include "net/listen.h"

enum tg_control_type {
    TG_CONTROL_SOCKETS,
    TG_CONTROL_RELOAD,
    TG_CONTROL_REOPEN,
    TG_CONTROL_DRAIN,
    TG_CONTROL_STOP,
    TG_CONTROL_READY,
    TG_CONTROL_RELOADED,
    TG_CONTROL_ORDER,
    TG_CONTROL_SETTLED,
    TG_CONTROL_TYPES
};

#define TG_CONTROL_TEXT_MAX TG_ORDER_REASON_MAX /* bytes of text, with the NUL */
#define TG_CONTROL_WIRE_MAX (12 * sizeof(uint32_t) + TG_CONTROL_TEXT_MAX)

struct tg_control_message {
    enum tg_control_type type;
    uint32_t id;                    /* RELOAD, RELOADED: which one */
    enum tg_err err;                /* RELOADED: TG_OK, or why the old configuration stays */
    struct tg_order order;          /* ORDER, RELOAD, SETTLED: what this is, or comes of */
    uint32_t revision;              /* RELOAD: what it becomes */
    uint32_t origin;                /* RELOAD: the revision that it restores, or 0 */
    enum tg_outcome outcome;        /* SETTLED */
    char text[TG_CONTROL_TEXT_MAX]; /* terminated. SOCKETS: key of the listener; RELOADED, SETTLED:
                                       one line of reason when err is set */
    /* SOCKETS: one for each worker; RELOAD: the sources (config/sources.h) and what was printed;
     * SETTLED: what was printed. Owned by who received the message. */
    int fds[TG_LISTEN_SOCKETS_MAX];
    uint32_t fd_count;
};

/* Makes a channel: both ends non-blocking and close-on-exec, owned by the caller. */
enum tg_err tg_control_open(int ends[2]) TG_MUST_USE;

/* Sends `message`, borrowing its descriptors. TG_E_AGAIN: the queue is full, nothing was sent.
 * TG_E_CLOSED: the other end is gone. Does not raise SIGPIPE. */
enum tg_err tg_control_send(int fd, const struct tg_control_message *message) TG_MUST_USE;

/* Takes the next message. TG_E_AGAIN: there is none. TG_E_CLOSED: the other end is gone.
 * TG_E_PROTOCOL: what came is no message; it is dropped, with its descriptors closed. Received
 * descriptors are close-on-exec and belong to the caller; there are none where too many files are
 * open for all of them. */
enum tg_err tg_control_receive(int fd, struct tg_control_message *out) TG_MUST_USE;

/* Closes the descriptors of a message that came, as far as nobody has taken them over. */
void tg_control_close_fds(struct tg_control_message *message);

/* In the gateway process: tells that its workers accept. */
void tg_control_ready(int fd);

/* Sets the text of a message, cut to its room. */
void tg_control_set_text(struct tg_control_message *message, struct tg_str text);

/* Writes the wire form of `message` and returns its size. */
size_t tg_control_encode(const struct tg_control_message *message,
                         unsigned char wire[TG_CONTROL_WIRE_MAX]);

/* Reads the wire form; descriptors travel beside it: out->fd_count tells how many were announced,
 * out->fds is left alone. TG_E_PROTOCOL when it is not one. */
enum tg_err tg_control_decode(const unsigned char *wire, size_t size,
                              struct tg_control_message *out) TG_MUST_USE;

/* "RELOAD" for logs; static storage. */
const char *tg_control_name(enum tg_control_type type);

#endif
