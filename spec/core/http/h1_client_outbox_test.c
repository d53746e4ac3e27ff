/*
 * What ends a request waits in the worker's outbox for the end of the loop's round, and the origin
 * answers before: whether the connection may go to another request then.
 */
#include "http/h1_client.h"

#include "net/outbox.h"

#include "client_fixture.h"

#define EARLY "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"

static void end_request(const struct tg_response_head *head)
{
    (void)head;
    tg_call_send_end(&client.call, NULL);
}

/* As the pool does with one that is given back, whose events are then the pool's. */
static void give_back(void)
{
    static const struct tg_call_events idle = {.on_failed = on_failed};
    if (tg_h1_client_is_reusable(&client)) {
        note("rests");
        tg_h1_client_rest(&client, &idle, NULL, REST);
    } else {
        note("closes");
        tg_h1_client_close(&client);
    }
}

/* A request of which all but the end is out, which follows in the round that brings an answer. */
static void open_early(void)
{
    assert_int_equal(tg_outbox_open(&worker), TG_OK);
    open_pair(wire_local_pair);
    begin(TG_METHOD_POST, POST_CHUNKED, TG_FRAMING_CHUNKED);
    tg_call_flush(&client.call);
    wire_expect(far, POST_CHUNKED);
    then_head = end_request;
    then_end = give_back;
}

/* Until the kernel takes no more, behind our back. */
static void fill_kernel(void)
{
    static char block[65536];
    while (send(client.conn.fd, block, sizeof(block), MSG_NOSIGNAL) > 0) {
    }
}

static void test_the_end_of_a_request_goes_before_the_next(void **state)
{
    (void)state;
    open_early();
    answered(EARLY, "head 413|end|rests|");
    wire_expect(far, "0\r\n\r\n");
    get();
    tg_outbox_close(&worker);
}

static void test_an_end_that_the_kernel_does_not_take(void **state)
{
    char block[4096];
    (void)state;
    open_early();
    fill_kernel();
    answered(EARLY, "head 413|end|closes|");
    while (recv(far, block, sizeof(block), 0) > 0)
        wire_rounds();
    tg_outbox_close(&worker);
}

static void test_an_end_that_cannot_be_sent(void **state)
{
    (void)state;
    open_early();
    assert_int_equal(shutdown(client.conn.fd, SHUT_WR), 0);
    answered(EARLY, "head 413|end|closes|");
    tg_outbox_close(&worker);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_end_of_a_request_goes_before_the_next),
        TEST(test_an_end_that_the_kernel_does_not_take),
        TEST(test_an_end_that_cannot_be_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
