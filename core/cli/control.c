/* control.c: both ends of the channel between supervisor and gateway process.
 *
 * Encoding is separate from the sockets, so that it can be tested with bytes, and so that a signal
 * handler can send a message which was encoded beforehand.
 *
 * A received packet is judged as a whole: cut short, wrong magic, or another number of descriptors
 * than it announces, and everything that came with it is closed. One whose descriptors did not all
 * find room in this process is good without any: it may want an answer, and its sender would wait.
 */
#include "base/banned.h"
#include "cli/control.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAGIC = 0x74676331, VERSION = 2 }; /* "tgc1" */

enum field {
    F_MAGIC,
    F_VERSION,
    F_TYPE,
    F_ID,
    F_ERR,
    F_FDS,
    F_TEXT,
    F_ORDER,  /* its kind */
    F_NUMBER, /* of the order */
    F_TO,     /* ORDER: order.revision; else revision */
    F_ORIGIN,
    F_OUTCOME,
    FIELDS
};

/* Room for the descriptors of one message beside its bytes. */
union ancillary {
    struct cmsghdr header; /* for alignment */
    char room[CMSG_SPACE(sizeof(int) * TG_LISTEN_SOCKETS_MAX)];
};

static const char *const names[TG_CONTROL_TYPES] = {
    [TG_CONTROL_SOCKETS] = "SOCKETS",   [TG_CONTROL_RELOAD] = "RELOAD",
    [TG_CONTROL_REOPEN] = "REOPEN",     [TG_CONTROL_DRAIN] = "DRAIN",
    [TG_CONTROL_STOP] = "STOP",         [TG_CONTROL_READY] = "READY",
    [TG_CONTROL_RELOADED] = "RELOADED", [TG_CONTROL_ORDER] = "ORDER",
    [TG_CONTROL_SETTLED] = "SETTLED",
};

const char *tg_control_name(enum tg_control_type type)
{
    tg_assert((unsigned)type < TG_CONTROL_TYPES);
    return names[type];
}

void tg_control_set_text(struct tg_control_message *message, struct tg_str text)
{
    size_t n = TG_MIN(text.n, sizeof(message->text) - 1);
    memcpy(message->text, text.p, n);
    message->text[n] = '\0';
}

size_t tg_control_encode(const struct tg_control_message *message,
                         unsigned char wire[TG_CONTROL_WIRE_MAX])
{
    size_t text = strnlen(message->text, TG_CONTROL_TEXT_MAX - 1);
    uint32_t fields[FIELDS] = {
        [F_MAGIC] = MAGIC,
        [F_VERSION] = VERSION,
        [F_TYPE] = message->type,
        [F_ID] = message->id,
        [F_ERR] = (uint32_t)message->err,
        [F_FDS] = message->fd_count,
        [F_TEXT] = (uint32_t)text,
        [F_ORDER] = message->order.kind,
        [F_NUMBER] = message->order.number,
        [F_TO] = message->type == TG_CONTROL_ORDER ? message->order.revision : message->revision,
        [F_ORIGIN] = message->origin,
        [F_OUTCOME] = message->outcome,
    };
    memcpy(wire, fields, sizeof(fields));
    memcpy(wire + sizeof(fields), message->text, text);
    return sizeof(fields) + text;
}

enum tg_err tg_control_decode(const unsigned char *wire, size_t size,
                              struct tg_control_message *out)
{
    uint32_t fields[FIELDS];
    if (size < sizeof(fields))
        return TG_E_PROTOCOL;
    memcpy(fields, wire, sizeof(fields));
    if (fields[F_MAGIC] != MAGIC || fields[F_VERSION] != VERSION ||
        fields[F_TYPE] >= TG_CONTROL_TYPES || fields[F_FDS] > TG_LISTEN_SOCKETS_MAX ||
        fields[F_TEXT] != size - sizeof(fields) || fields[F_TEXT] >= TG_CONTROL_TEXT_MAX ||
        fields[F_ORDER] >= TG_ORDER_KINDS || fields[F_OUTCOME] >= TG_OUTCOMES)
        return TG_E_PROTOCOL;
    out->type = (enum tg_control_type)fields[F_TYPE];
    out->id = fields[F_ID];
    out->err = (enum tg_err)(int32_t)fields[F_ERR];
    out->fd_count = fields[F_FDS];
    out->order = (struct tg_order){.kind = (enum tg_order_kind)fields[F_ORDER],
                                   .number = fields[F_NUMBER],
                                   .revision = fields[F_TO]};
    out->revision = fields[F_TO];
    out->origin = fields[F_ORIGIN];
    out->outcome = (enum tg_outcome)fields[F_OUTCOME];
    tg_control_set_text(out, tg_str((const char *)wire + sizeof(fields), fields[F_TEXT]));
    return TG_OK;
}

/* ---- Sockets --------------------------------------------------------------------------------- */

static enum tg_err system_error(void)
{
    switch (errno) {
    case EAGAIN:
        return TG_E_AGAIN;
    case EPIPE:
    case ECONNRESET:
        return TG_E_CLOSED;
    default:
        return TG_E_SYSTEM;
    }
}

enum tg_err tg_control_open(int ends[2])
{
    int type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;
    return socketpair(AF_UNIX, type, 0, ends) == 0 ? TG_OK : TG_E_SYSTEM;
}

enum tg_err tg_control_send(int fd, const struct tg_control_message *message)
{
    unsigned char wire[TG_CONTROL_WIRE_MAX];
    union ancillary ancillary = {0};
    struct iovec bytes = {wire, tg_control_encode(message, wire)};
    struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
    tg_assert(message->fd_count <= TG_LISTEN_SOCKETS_MAX);
    if (message->fd_count > 0) {
        size_t size = message->fd_count * sizeof(int);
        header.msg_control = ancillary.room;
        header.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(rights), message->fds, size);
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &header, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? TG_OK : system_error();
}

/* Copies the descriptors that came with a packet; returns how many. */
static uint32_t take_fds(struct msghdr *header, int fds[TG_LISTEN_SOCKETS_MAX])
{
    struct cmsghdr *rights = CMSG_FIRSTHDR(header);
    if (rights == NULL || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t size = rights->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(rights), size);
    return (uint32_t)(size / sizeof(int));
}

void tg_control_close_fds(struct tg_control_message *message)
{
    while (message->fd_count > 0)
        close(message->fds[--message->fd_count]);
}

enum tg_err tg_control_receive(int fd, struct tg_control_message *out)
{
    unsigned char wire[TG_CONTROL_WIRE_MAX];
    union ancillary ancillary;
    struct iovec bytes = {wire, sizeof(wire)};
    struct msghdr header = {.msg_iov = &bytes,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.room,
                            .msg_controllen = sizeof(ancillary.room)};
    ssize_t got;
    do {
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return system_error();
    if (got == 0)
        return TG_E_CLOSED;
    uint32_t count = take_fds(&header, out->fds);
    bool lost = (header.msg_flags & MSG_CTRUNC) != 0;
    bool good = (header.msg_flags & MSG_TRUNC) == 0 &&
                tg_control_decode(wire, (size_t)got, out) == TG_OK &&
                (lost || out->fd_count == count);
    if (good && !lost)
        return TG_OK;
    out->fd_count = count;
    tg_control_close_fds(out);
    return good ? TG_OK : TG_E_PROTOCOL;
}

void tg_control_ready(int fd)
{
    struct tg_control_message message = {.type = TG_CONTROL_READY};
    enum tg_err ignored = tg_control_send(fd, &message);
    (void)ignored; /* nobody listens under --single */
}
