/*
 * Answers to clients: how their length is told, what has no body, what leaves when, back-pressure.
 */
#include "http/h1_server.h"

#include "server_fixture.h"

static void talk(const char *sent, const char *answer, const char *want)
{
    wire_send(far, sent);
    wire_expect(far, answer);
    assert_trace(want);
}

/* ---- Answers and their framing -----------------------------------------------------------------
 */

static void say_chunked(void)
{
    send_head(200, TG_FRAMING_CHUNKED, 0);
    send_body("hello");
    ops()->flush(stream());
    send_body("");
    send_body("world!");
    send_end();
}

static void test_an_answer_of_unknown_length(void **state)
{
    (void)state;
    act.request = say_chunked;
    server_open(wire_local_pair);
    talk("GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\nworld!\r\n"
         "0\r\n\r\n",
         "GET /|");
    talk("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhelloworld!", "GET /|");
    wire_expect_end(far);
}

static void say_with_trailers(void)
{
    struct tg_fields trailers;
    send_head(200, TG_FRAMING_CHUNKED, 0);
    send_body("a");
    ops()->flush(stream());
    tg_fields_init(&trailers, &gw.arena);
    assert_int_equal(tg_fields_add(&trailers, TG_STR("X-Sum"), TG_STR("1")), TG_OK);
    assert_int_equal(tg_fields_add(&trailers, TG_STR("Content-Length"), TG_STR("1")), TG_OK);
    ops()->send_end(stream(), &trailers);
    tg_arena_release(&gw.arena);
}

static void test_an_answer_with_trailers(void **state)
{
    (void)state;
    act.request = say_with_trailers;
    server_open(wire_local_pair);
    talk("GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
         "GET /|");
}

static void say_bodiless(void)
{
    struct tg_response_head head = {.framing = TG_FRAMING_NONE, .length = 9, .has_length = true};
    head.status = gw.head.target.n == 2 ? 204 : 304;
    if (gw.head.method == TG_METHOD_HEAD)
        head.status = 200;
    tg_fields_init(&head.fields, &gw.arena);
    ops()->send_head(stream(), &head);
    send_body("must not go");
    send_end();
}

static void test_answers_without_a_body(void **state)
{
    (void)state;
    act.request = say_bodiless;
    server_open(wire_local_pair);
    talk("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "GET /a|");
    talk("GET /ab HTTP/1.1\r\nHost: a\r\n\r\n",
         "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET /ab|");
    talk("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
         "HEAD /a|");
    act.request = say_ok;
    talk("GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK_ANSWER, "GET /|");
}

/* A 304 that a filter turned into a 200: the length that it spoke of is not there. */
static void test_a_length_without_a_body_is_not_told(void **state)
{
    struct tg_response_head head = {.status = 200, .length = 9, .has_length = true};
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_trace("GET /|");
    tg_fields_init(&head.fields, &gw.arena);
    ops()->send_head(stream(), &head);
    send_end();
    wire_expect(far, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void test_an_empty_answer_tells_its_length(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_trace("GET /|");
    say(200, "");
    wire_expect(far, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void test_a_head_waits_for_company(void **state)
{
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_rounds();
    send_head(200, TG_FRAMING_LENGTH, 2);
    wire_expect_silence(far);
    ops()->flush(stream());
    wire_expect(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    send_body("ok");
    wire_expect(far, "ok");
    send_end();
}

static void test_informational_answers(void **state)
{
    struct tg_fields fields;
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_rounds();
    tg_fields_init(&fields, &gw.arena);
    assert_int_equal(tg_fields_add(&fields, TG_STR("Link"), TG_STR("</a>")), TG_OK);
    ops()->send_info(stream(), 103, &fields);
    wire_expect(far, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    say_ok();
    wire_expect(far, OK_ANSWER);
    wire_send(far, "GET / HTTP/1.0\r\n\r\n");
    wire_rounds();
    tg_fields_init(&fields, &gw.arena);
    ops()->send_info(stream(), 103, &fields); /* not for HTTP/1.0 */
    say_ok();
    wire_expect(far, OK_CLOSE_ANSWER);
}

static void test_back_pressure(void **state)
{
    static char block[65536];
    size_t sent = 0;
    size_t got = 0;
    (void)state;
    server_open(wire_local_pair);
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_rounds();
    send_head(200, TG_FRAMING_LENGTH, (uint64_t)64 * sizeof(block));
    while (ops()->pending(stream()) == 0) {
        assert_true(sent < 64 * sizeof(block));
        ops()->send_body(stream(), tg_str(block, sizeof(block)));
        sent += sizeof(block);
    }
    wire_rounds();
    assert_int_equal(gw.drained, 0);
    while (gw.drained == 0) {
        ssize_t n = wire_recv(far, block, sizeof(block));
        assert_true(n > 0);
        got += (size_t)n;
        wire_rounds();
    }
    assert_int_equal(ops()->pending(stream()), 0);
    for (; sent < 64 * sizeof(block); sent += sizeof(block))
        ops()->send_body(stream(), tg_str(block, sizeof(block)));
    send_end();
    while (got < 64 * sizeof(block)) {
        ssize_t n = wire_recv(far, block, sizeof(block));
        assert_true(n > 0);
        got += (size_t)n;
        wire_rounds();
    }
    act.request = say_ok;
    wire_send(far, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while (got < 64 * sizeof(block) + strlen("HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n"))
        got += (size_t)wire_recv(far, block, 1);
    wire_expect(far, OK_ANSWER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer_of_unknown_length),
        TEST(test_an_answer_with_trailers),
        TEST(test_answers_without_a_body),
        TEST(test_a_length_without_a_body_is_not_told),
        TEST(test_an_empty_answer_tells_its_length),
        TEST(test_a_head_waits_for_company),
        TEST(test_informational_answers),
        TEST(test_back_pressure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
