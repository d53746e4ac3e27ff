/* pipe.c: see pipe.h. */
#include "base/banned.h"
#include "harness/pipe.h"

#include "base/assert.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum tg_err tg_pipe_pair(int fds[2])
{
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    return rc == 0 ? TG_OK : tg_err_from_errno(errno);
}

void tg_pipe_open(struct tg_pipe *pipe, int fd)
{
    *pipe = (struct tg_pipe){.fd = fd};
}

void tg_pipe_close(struct tg_pipe *pipe)
{
    char byte;
    if (pipe->fd < 0)
        return;
    if (pipe->held)
        (void)!recv(pipe->fd, &byte, 1, MSG_DONTWAIT);
    close(pipe->fd);
    pipe->fd = -1;
}

void tg_pipe_reset(struct tg_pipe *pipe)
{
    pipe->held = false;
    tg_pipe_close(pipe);
}

void tg_pipe_finish(struct tg_pipe *pipe)
{
    if (pipe->fd >= 0)
        shutdown(pipe->fd, SHUT_WR);
}

enum tg_err tg_pipe_send(struct tg_pipe *pipe, const char *p, size_t n, size_t *sent)
{
    *sent = 0;
    if (pipe->fd < 0)
        return TG_E_CLOSED;
    while (*sent < n) {
        ssize_t k = send(pipe->fd, p + *sent, n - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == EAGAIN)
            return TG_OK;
        if (k < 0)
            return errno == EPIPE ? TG_E_CLOSED : tg_err_from_errno(errno);
        *sent += (size_t)k;
    }
    return TG_OK;
}

static bool is_at_end(const struct tg_pipe *pipe)
{
    struct pollfd p = {.fd = pipe->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Only the held byte is there: is that all that will ever be? */
static enum tg_err look_for_end(struct tg_pipe *pipe)
{
    char byte;
    if (!is_at_end(pipe))
        return TG_E_AGAIN;
    if (pipe->held)
        (void)!recv(pipe->fd, &byte, 1, MSG_DONTWAIT);
    pipe->held = false;
    ssize_t got = recv(pipe->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 ? tg_err_from_errno(errno) : TG_E_CLOSED;
}

/* Takes `n` bytes, which are there, out of the kernel. */
static void take(struct tg_pipe *pipe, char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(pipe->fd, p, n, MSG_DONTWAIT);
        tg_assert(got > 0 || errno == EINTR);
        p += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
}

enum tg_err tg_pipe_receive(struct tg_pipe *pipe, char *p, size_t cap, size_t *n)
{
    ssize_t got;
    size_t old = pipe->held ? 1 : 0;
    tg_assert(cap > 1);
    *n = 0;
    if (pipe->fd < 0)
        return TG_E_CLOSED;
    do {
        got = recv(pipe->fd, p, cap, MSG_PEEK | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return tg_err_from_errno(errno);
    if ((size_t)got <= old)
        return look_for_end(pipe);
    take(pipe, p, (size_t)got - 1); /* the last byte is in `p` already, and stays in the kernel */
    pipe->held = true;
    *n = (size_t)got - old;
    memmove(p, p + old, *n);
    return TG_OK;
}
