/*
 * Two attempts to connect at a time: who wins, and what becomes of the other.
 *
 * An address that takes no connection is a listener whose backlog is full: the kernel answers no
 * SYN.
 */
#include "net/race.h"

#include "conn_fixture.h"
#include "net/conn.h"
#include "observe/metrics.h"

#include <arpa/inet.h>

static struct tg_addr first, second;
static int listeners[2] = {-1, -1};
static int stuffing[8];
static size_t filled;

static int listen_on(const char *ip, int backlog, struct tg_addr *addr)
{
    char text[TG_ADDR_TEXT_MAX];
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    snprintf(text, sizeof(text), "%s:0", ip);
    assert_int_equal(tg_addr_parse(tg_str_c(text), addr), TG_OK);
    assert_int_equal(bind(fd, &addr->u.any, addr->len), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    addr->u.v4.sin_port = in.sin_port;
    return fd;
}

/* Fills the backlog until a connection is no longer taken. */
static void stuff(const struct tg_addr *addr)
{
    while (filled < TG_COUNT_OF(stuffing)) {
        struct pollfd p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                           .events = POLLOUT};
        stuffing[filled++] = p.fd;
        (void)connect(p.fd, &addr->u.any, addr->len);
        if (poll(&p, 1, 50) == 0)
            return;
    }
    fail_msg("the backlog is not filled");
}

static struct tg_metrics *metrics;

static int begin(void **state)
{
    metrics = tg_metrics_new(1);
    filled = 0;
    if (metrics == NULL || setup(state) != 0)
        return -1;
    worker.cells = tg_metrics_cells(metrics, 0);
    return 0;
}

static int end(void **state)
{
    while (filled > 0)
        close(stuffing[--filled]);
    for (int i = 0; i < 2; i++) {
        if (listeners[i] >= 0)
            close(listeners[i]);
        listeners[i] = -1;
    }
    tg_metrics_free(&metrics);
    return teardown(state);
}

static uint64_t race(void)
{
    tg_clock_refresh(&worker.loop.clock);
    uint64_t before = worker.loop.clock.mono;
    memset(&o, 0, sizeof(o));
    assert_int_equal(tg_conn_connect(&o.conn, &worker, &first, &handler), TG_OK);
    tg_conn_race(&o.conn, &second);
    wire_until(&o.connected);
    return tg_clock_mono_now() - before;
}

/* The address at the other end of the connection. */
static void assert_peer(const struct tg_addr *addr)
{
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    assert_int_equal(o.err, TG_OK);
    assert_int_equal(getpeername(o.conn.fd, (struct sockaddr *)&in, &len), 0);
    assert_int_equal(in.sin_addr.s_addr, addr->u.v4.sin_addr.s_addr);
    assert_int_equal(o.conn.sent_at, 0);
}

static void test_the_first_wins_when_it_is_quick(void **state)
{
    (void)state;
    listeners[0] = listen_on("127.0.0.1", 8, &first);
    listeners[1] = listen_on("127.0.0.2", 8, &second);
    race();
    assert_peer(&first);
}

static void test_the_second_wins_when_the_first_is_slow(void **state)
{
    (void)state;
    listeners[0] = listen_on("127.0.0.1", 0, &first);
    listeners[1] = listen_on("127.0.0.2", 8, &second);
    stuff(&first);
    uint64_t took = race();
    assert_peer(&second);
    assert_true(took >= TG_RACE_DELAY);
}

static void test_the_second_begins_at_once_when_the_first_is_refused(void **state)
{
    (void)state;
    listeners[0] = listen_on("127.0.0.1", -1, &first);
    listeners[1] = listen_on("127.0.0.2", 8, &second);
    race();
    assert_peer(&second);
    assert_int_equal(o.connected, 1);
}

static void test_when_both_are_refused_the_first_error_counts(void **state)
{
    (void)state;
    listeners[0] = listen_on("127.0.0.1", -1, &first);
    listeners[1] = listen_on("127.0.0.2", -1, &second);
    race();
    assert_int_equal(o.connected, 1);
    assert_int_equal(o.err, TG_E_REFUSED);
}

static void test_a_close_ends_both(void **state)
{
    (void)state;
    listeners[0] = listen_on("127.0.0.1", 0, &first);
    listeners[1] = listen_on("127.0.0.2", 8, &second);
    stuff(&first);
    memset(&o, 0, sizeof(o));
    assert_int_equal(tg_conn_connect(&o.conn, &worker, &first, &handler), TG_OK);
    tg_conn_race(&o.conn, &second);
    tg_conn_close(&o.conn);
    assert_int_equal(o.connected, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
        TEST(the_first_wins_when_it_is_quick),
        TEST(the_second_wins_when_the_first_is_slow),
        TEST(the_second_begins_at_once_when_the_first_is_refused),
        TEST(when_both_are_refused_the_first_error_counts),
        TEST(a_close_ends_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
