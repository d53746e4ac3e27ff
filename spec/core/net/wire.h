/*
 * A worker whose loop a test turns by hand, and the far ends of its connections.
 *
 * Include it after the unit's own header. The loop is turned a round at a time: wire_rounds() for
 * what has arrived already, wire_until() for what must come, with a bound in time. A pair of local
 * sockets delivers at once, so what did not happen within some rounds will not happen; a TCP pair
 * is for what local sockets cannot show (resets, half of a connection). With wire_fake_clock() only
 * wire_turn() moves the timers.
 *
 * wire_release() checks that everything was given back: memory and descriptors.
 */
#ifndef TG_SPEC_NET_WIRE_H
#define TG_SPEC_NET_WIRE_H

#include "event/worker.h"
#include "net/addr.h"
#include "support.h"

#include <dirent.h>
#include <sys/socket.h>

#define MS TG_USEC_PER_MSEC

static struct tg_worker worker;
static int wire_fds;

static inline int wire_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static inline int wire_init(void **state)
{
    (void)state;
    wire_fds = wire_open_fds();
    return tg_worker_init(&worker, 0, NULL) == TG_OK ? 0 : -1;
}

static inline int wire_release(void **state)
{
    (void)state;
    bool clean = tg_slab_leased(worker.slab) == 0 && worker.loop.timers.timers == 0;
    if (!clean)
        return -1;
    tg_worker_release(&worker);
    return tg_mem_used(TG_MEM_CONNECTION) == 0 && wire_open_fds() == wire_fds ? 0 : -1;
}

/* Some rounds that do not wait. */
static inline void wire_rounds(void)
{
    for (int i = 0; i < 8; i++)
        ev_run(worker.loop.ev, EVRUN_NOWAIT);
}

/* Rounds until `*flag` is not 0. */
static inline void wire_until(const int *flag)
{
    uint64_t end = tg_clock_mono_now() + SUPPORT_PATIENCE * MS;
    while (*flag == 0) {
        struct pollfd none = {.fd = -1};
        ev_run(worker.loop.ev, EVRUN_NOWAIT);
        if (*flag == 0)
            poll(&none, 1, 1);
        assert_true(tg_clock_mono_now() < end);
    }
}

static inline void wire_fake_clock(void)
{
    tg_clock_init_fake(&worker.loop.clock, TG_USEC_PER_SEC);
}

/* Turns a fake clock and lets the timers see it. */
static inline void wire_turn(uint64_t us)
{
    tg_clock_advance(&worker.loop.clock, us);
    wire_rounds();
}

/* ---- Pairs: [0] is for the unit under test, [1] the far end; neither blocks. ------------------
 */

static inline void wire_local_pair(int fds[2])
{
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    assert_int_equal(rc, 0);
}

/* A socket that listens on loopback; where, goes to `addr`. */
static inline int wire_listen(struct tg_addr *addr)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(tg_addr_parse(TG_STR("127.0.0.1:0"), addr), TG_OK);
    assert_int_equal(bind(fd, &addr->u.any, addr->len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, &addr->u.any, &addr->len), 0);
    return fd;
}

static inline int wire_accept(int listener)
{
    support_await(listener);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline void wire_tcp_pair(int fds[2])
{
    struct tg_addr addr;
    int listener = wire_listen(&addr);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], &addr.u.any, addr.len), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    fds[1] = wire_accept(listener);
    close(listener);
}

/* ---- The far end -------------------------------------------------------------------------------
 */

static inline void wire_send_bytes(int fd, const char *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

#define wire_send(fd, text) wire_send_bytes((fd), (text), strlen(text))

/* Reads what must come while the loop turns; all of `text`. */
static inline void wire_expect(int fd, const char *text)
{
    static char got[65536];
    size_t want = strlen(text);
    size_t n = 0;
    uint64_t end = tg_clock_mono_now() + SUPPORT_PATIENCE * MS;
    assert_true(want < sizeof(got));
    while (n < want) {
        ssize_t more = recv(fd, got + n, want - n, 0);
        if (more < 0 && errno == EAGAIN && tg_clock_mono_now() < end) {
            wire_rounds();
            continue;
        }
        if (more <= 0)
            fail_msg("got \"%.*s\", then %s, not \"%s\"", (int)n, got,
                     more == 0 ? "the end" : strerror(errno), text);
        n += (size_t)more;
    }
    if (memcmp(got, text, want) != 0)
        fail_msg("got \"%.*s\", not \"%s\"", (int)n, got, text);
}

/* Nothing is there to be read, not even the end. */
static inline void wire_expect_silence(int fd)
{
    char byte;
    wire_rounds();
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

/* recv() that waits for an outcome while the loop turns: 0 for the end, -1 for an error. */
static inline ssize_t wire_recv(int fd, char *p, size_t n)
{
    uint64_t end = tg_clock_mono_now() + SUPPORT_PATIENCE * MS;
    for (;;) {
        ssize_t got = recv(fd, p, n, 0);
        if (got >= 0 || errno != EAGAIN)
            return got;
        assert_true(tg_clock_mono_now() < end);
        wire_rounds();
    }
}

static inline void wire_expect_end(int fd)
{
    char byte;
    assert_int_equal(wire_recv(fd, &byte, 1), 0);
}

static inline void wire_expect_reset(int fd)
{
    char byte;
    assert_int_equal(wire_recv(fd, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
}

/* Closes with a reset. */
static inline void wire_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd);
}

#endif
