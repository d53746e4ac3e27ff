/*
 * Every allocation of an exchange made to fail in turn: nothing crashes, nothing leaks, the
 * connection comes to an end, and the client never takes a broken answer for a whole one.
 */
#include "http/h1_server.h"

#include "server_fixture.h"

#define PIECE  60000
#define PIECES 12

static char piece[PIECE];
static char got[2 * PIECE * PIECES + 8192]; /* of two exchanges */
static size_t got_n;
static int pieces_left;

/* A head, a long body in pieces under back-pressure, trailers. */
static void send_pieces(void)
{
    struct tg_fields trailers;
    while (pieces_left > 0 && ops()->pending(stream()) == 0) {
        pieces_left--;
        ops()->send_body(stream(), tg_str(piece, PIECE));
    }
    if (pieces_left > 0)
        return;
    tg_fields_init(&trailers, &gw.arena);
    if (tg_fields_add(&trailers, TG_STR("X-Sum"), TG_STR("1")) != TG_OK) {
        ops()->abort(stream());
        return;
    }
    pieces_left = -1;
    ops()->send_end(stream(), &trailers);
    tg_arena_release(&gw.arena);
}

static void answer(void)
{
    pieces_left = PIECES;
    send_head(200, TG_FRAMING_CHUNKED, 0);
    send_pieces();
}

/* Takes what came; false at the end. */
static bool take(void)
{
    ssize_t n = recv(far, got + got_n, sizeof(got) - 1 - got_n, 0);
    got_n += n > 0 ? (size_t)n : 0;
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool ends_with(const char *text)
{
    size_t n = strlen(text);
    return got_n >= n && memcmp(got + got_n - n, text, n) == 0;
}

static void exchange(const char *sent)
{
    int fds[2];
    wire_local_pair(fds);
    far = fds[1];
    got_n = 0;
    gw.closed = 0;
    pieces_left = -1;
    if (tg_h1_server_open(&gw.server, &worker, fds[0], &server_events) == TG_OK) {
        wire_send(far, sent);
        for (bool open = true; open;) {
            int before = gw.drained;
            wire_rounds();
            open = take();
            if (gw.drained != before && pieces_left >= 0 && gw.server.magic != 0)
                send_pieces();
        }
    }
    close(far);
    far = -1;
    wire_rounds();
}

static void sweep(const char *sent, const char *whole)
{
    uint64_t n = 0;
    bool done = false;
    act.request = read_on;
    act.body_end = answer;
    act.aborted = say_status;
    while (!done) {
        trace[0] = '\0';
        tg_mem_fail_at(++n);
        exchange(sent);
        done = tg_mem_fail_count() < n;
        tg_mem_fail_at(0);
        got[got_n] = '\0';
        bool complete = ends_with(whole);
        if (done)
            assert_true(complete);
        if (!complete && got_n > 0 && strncmp(got, "HTTP/1.1 200", 12) != 0)
            assert_true(strncmp(got, "HTTP/1.1 503", 12) == 0 ||
                        strncmp(got, "HTTP/1.1 400", 12) == 0);
        tg_arena_release(&gw.arena);
        assert_int_equal(tg_slab_leased(worker.slab), 0);
        assert_int_equal(worker.loop.timers.timers, 0);
        assert_true(n < 1000);
    }
    assert_true(n > 3);
}

static void test_a_chunked_exchange(void **state)
{
    (void)state;
    sweep("POST /%41/../b?c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
          "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n",
          "\r\n0\r\nX-Sum: 1\r\n\r\n");
}

static void test_many_fields(void **state)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "POST / HTTP/1.1\r\nHost: a\r\n"
                                "Connection: close\r\nContent-Length: 1\r\n");
    (void)state;
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "X-%d: some value of it\r\n", i);
    snprintf(text + n, sizeof(text) - n, "\r\nx");
    sweep(text, "\r\n0\r\nX-Sum: 1\r\n\r\n");
}

static void test_pipelined_exchanges(void **state)
{
    (void)state;
    sweep("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
          "POST /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
          "\r\n0\r\nX-Sum: 1\r\n\r\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_chunked_exchange),
        TEST(test_many_fields),
        TEST(test_pipelined_exchanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
