/*
 * How far a client may send ahead with a body over HTTP/2: windows that grow by what a path holds,
 * shown on a path whose round trips the test counts.
 */
#include "http/h2_server.h"

#include "h2_fixture.h"

#include <errno.h>

#define ROUND_TRIP (50 * TG_USEC_PER_MSEC)
#define BODY       ((size_t)8 << 20)

static size_t body_left;

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *arg)
{
    (void)session, (void)id, (void)source, (void)arg;
    n = TG_MIN(n, body_left);
    memset(p, 'b', n);
    body_left -= n;
    if (body_left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void post(void)
{
    static const nghttp2_data_provider provider = {.read_callback = give};
    body_left = BODY;
    ask("POST", "/", &provider);
}

/* What the path holds on its way to the gateway, and back. */
static char up[4 << 20], down[1 << 20];
static size_t up_n, down_n;

static void take_down(void)
{
    ssize_t n = recv(peer.fd, down + down_n, sizeof(down) - down_n, 0);
    down_n += n > 0 ? (size_t)n : 0;
}

/* All that the client may send now leaves; half a round trip later the gateway has it, and after
 * another half the client has what the gateway said. */
static void fly(void)
{
    const uint8_t *p;
    ssize_t n;
    up_n = down_n = 0;
    while ((n = nghttp2_session_mem_send(peer.session, &p)) > 0) {
        assert_true(up_n + (size_t)n <= sizeof(up));
        memcpy(up + up_n, p, (size_t)n);
        up_n += (size_t)n;
    }
    for (size_t at = 0; at < up_n;) {
        n = send(peer.fd, up + at, TG_MIN(up_n - at, (size_t)32768), MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EAGAIN); /* the gateway may have closed */
        at += n > 0 ? (size_t)n : 0;
        wire_rounds();
        take_down();
    }
    wire_turn(ROUND_TRIP);
    take_down();
    assert_true(nghttp2_session_mem_recv(peer.session, (uint8_t *)down, down_n) >= 0);
}

/* Round trips that a body of BODY bytes takes. */
static int round_trips(void)
{
    int n = 0;
    post();
    while (body_left > 0) {
        fly();
        n++;
        assert_true(n < 1000);
    }
    return n;
}

/* A body that is under way, and windows as wide as they may be. */
static void grow(void)
{
    act.request = read_on;
    post();
    for (int n = 0; gw.server.pace.window < gw.limits.h2_window; n++) {
        assert_true(n < 100);
        fly();
    }
}

static void test_windows_grow_with_the_path(void **state)
{
    (void)state;
    act.request = read_on;
    assert_true(round_trips() <= 30); /* some to grow in, then 1 MiB in each */
    assert_int_equal(gw.server.pace.window, gw.limits.h2_window);
    assert_true(round_trips() <= 20); /* the next body finds them wide, soon */
}

static void test_not_beyond_their_bound(void **state)
{
    (void)state;
    gw.limits.h2_window = 65536;
    tg_h2_pace_init(&gw.server.pace, gw.limits.h2_window);
    act.request = read_on;
    assert_true(round_trips() >= (int)(BODY / 65536));
}

/* Takes a quarter of a window, then rests until the next round trip. */
static void take_a_little(struct exchange *x, struct tg_str data)
{
    static size_t taken;
    taken += data.n;
    if (taken >= 16384) {
        taken = 0;
        stream_of(x)->ops->read_body(x->stream, false);
    }
}

static void test_not_for_a_reader_that_is_slower(void **state)
{
    (void)state;
    act.body = take_a_little;
    post();
    for (int i = 0; i < 100; i++) {
        fly();
        if (gw.x[0].stream != NULL)
            read_on(&gw.x[0]);
    }
    assert_int_equal(gw.server.pace.window, TG_H2_WINDOW);
    assert_true(body_left > BODY / 2);
}

static void test_not_where_memory_is_short(void **state)
{
    (void)state;
    act.request = read_on;
    tg_mem_set_cap(TG_MEM_CONNECTION, tg_mem_used(TG_MEM_CONNECTION) + ((size_t)4 << 20));
    void *others = tg_mem_alloc(TG_MEM_CONNECTION, (size_t)3 << 20);
    int n = round_trips();
    tg_mem_free(TG_MEM_CONNECTION, others);
    tg_mem_set_cap(TG_MEM_CONNECTION, SIZE_MAX);
    assert_non_null(others);
    assert_true(n >= (int)(BODY / 65536));
}

/* What a reader that stops has let come: no more than the connection's window, and what is held
 * beside it. Then the stream is as narrow as it was. */
static void test_a_reader_that_stops(void **state)
{
    (void)state;
    grow();
    fly();
    stream_of(&gw.x[0])->ops->read_body(gw.x[0].stream, false);
    size_t before = body_left;
    for (int i = 0; i < 20; i++)
        fly();
    assert_true(before - body_left <= gw.limits.h2_window);
    assert_true(body_left > 0);
    stream_of(&gw.x[0])->ops->read_body(gw.x[0].stream, true);
    for (int i = 0; i < 300 && body_left > 0; i++)
        fly();
    fly();
    assert_int_equal(stream_of(&gw.x[0])->bytes_in, BODY);
}

static void test_relief_takes_them_back(void **state)
{
    (void)state;
    grow();
    assert_int_equal(tg_h2_server_relieve(&gw.server, tg_loop_now(&worker.loop), TG_USEC_PER_SEC),
                     TG_H2_RELIEF_NONE);
    assert_int_equal(gw.server.pace.window, TG_H2_WINDOW);
    assert_int_equal(nghttp2_session_get_effective_local_window_size(gw.server.session),
                     2 * TG_H2_WINDOW);
    assert_int_equal(nghttp2_session_get_stream_effective_local_window_size(gw.server.session, 1),
                     TG_H2_WINDOW);
}

/* The measure by itself. */
static void test_the_measure(void **state)
{
    struct tg_h2_pace pace;
    (void)state;
    tg_h2_pace_init(&pace, 200000);
    assert_int_equal(tg_h2_pace_measured(&pace), TG_H2_PACE_KEPT); /* nothing was asked */
    assert_false(tg_h2_pace_count(&pace, 60000, false, TG_USEC_PER_SEC));
    assert_true(tg_h2_pace_count(&pace, 30000, true, TG_USEC_PER_SEC));
    assert_false(tg_h2_pace_count(&pace, 10000, true, TG_USEC_PER_SEC)); /* one at a time */
    assert_int_equal(tg_h2_pace_measured(&pace), TG_H2_PACE_KEPT);       /* it was not used up */
    assert_false(tg_h2_pace_count(&pace, 60000, true, TG_USEC_PER_SEC)); /* and not at once */
    assert_true(tg_h2_pace_count(&pace, 60000, true, 2 * TG_USEC_PER_SEC));
    assert_int_equal(tg_h2_pace_measured(&pace), TG_H2_PACE_GROWN);
    assert_int_equal(pace.window, 120000);
    assert_true(tg_h2_pace_count(&pace, 110000, true, 3 * TG_USEC_PER_SEC));
    assert_int_equal(tg_h2_pace_measured(&pace), TG_H2_PACE_FULL);
    assert_int_equal(pace.window, 200000);
    assert_false(
        tg_h2_pace_count(&pace, 200000, true, 4 * TG_USEC_PER_SEC)); /* as wide as may be */
    tg_h2_pace_init(&pace, 0);
    assert_int_equal(pace.most, TG_H2_WINDOW);
}

#define H2(test) cmocka_unit_test_setup_teardown(test, h2_setup, h2_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        H2(test_windows_grow_with_the_path),
        H2(test_not_beyond_their_bound),
        H2(test_not_for_a_reader_that_is_slower),
        H2(test_not_where_memory_is_short),
        H2(test_a_reader_that_stops),
        H2(test_relief_takes_them_back),
        H2(test_the_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
