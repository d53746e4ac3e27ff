/*
 * Every allocation of an HTTP/2 connection made to fail in turn: nothing crashes, nothing leaks,
 * the connection comes to an end or serves the next request, and the client never takes a broken
 * answer for a whole one.
 */
#include "http/h2_server.h"

#include "h2_fixture.h"

#define PIECES 6

static char piece[20000];
static size_t body_left;

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)id;
    (void)source;
    (void)arg;
    n = TG_MIN(n, body_left);
    memset(p, 'b', n);
    body_left -= n;
    if (body_left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* A long answer with trailers. */
static void answer_long(struct exchange *x)
{
    struct tg_fields trailers;
    send_head(x, 200, TG_FRAMING_CHUNKED, 0);
    for (int i = 0; i < PIECES; i++)
        x->stream->ops->send_body(x->stream, tg_str(piece, sizeof(piece)));
    tg_fields_init(&trailers, &x->arena);
    if (tg_fields_add(&trailers, TG_STR("X-Sum"), TG_STR("1")) == TG_OK) {
        send_end(x, &trailers);
        return;
    }
    struct tg_stream *stream = x->stream;
    end_exchange(x);
    stream->ops->abort(stream);
}

static void read_then_answer(struct exchange *x)
{
    if (x->head.framing == TG_FRAMING_NONE)
        answer_long(x);
    else
        read_on(x);
}

static void body(struct exchange *x, struct tg_str data)
{
    (void)data;
    if (x->stream->bytes_in == 40000)
        answer_long(x);
}

static void connection(void)
{
    static const nghttp2_data_provider provider = {.read_callback = give};
    int fds[2];
    memset(&peer, 0, sizeof(peer));
    wire_local_pair(fds);
    peer_open(fds[1]);
    gw.trace[0] = '\0';
    if (server_open(fds[0]) == TG_OK) {
        body_left = 40000;
        ask("GET", "/%41/../b", NULL);
        ask("POST", "/c", &provider);
        talk();
    }
    if (gw.server.magic != 0)
        tg_h2_server_close(&gw.server);
    gw.server.magic = 0;
    peer_close();
    wire_rounds();
}

static void test_two_exchanges(void **state)
{
    uint64_t n = 0;
    bool done = false;
    (void)state;
    act.request = read_then_answer;
    act.body = body;
    while (!done) {
        peer.trace[0] = '\0';
        tg_mem_fail_at(++n);
        connection();
        done = tg_mem_fail_count() < n;
        tg_mem_fail_at(0);
        bool whole = strstr(peer.trace, "1:x-sum=1|1:END|") != NULL;
        if (done)
            assert_true(whole && peer.body == 2 * PIECES * sizeof(piece));
        if (strstr(peer.trace, "1:END|") != NULL && strstr(peer.trace, "1:HEADERS 200|") != NULL)
            assert_true(whole);
        for (unsigned i = 0; i < EXCHANGES; i++)
            assert_null(gw.x[i].stream);
        assert_int_equal(tg_slab_leased(worker.slab), 0);
        assert_int_equal(worker.loop.timers.timers, 0);
        assert_true(n < 2000);
    }
    assert_true(n > 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_init, h2_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_two_exchanges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
