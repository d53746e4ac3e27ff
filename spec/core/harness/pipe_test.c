/* pipe_test.c: ends of a socket pair as specs hold them: bytes, ends, resets. */
#include "harness/pipe.h"

#include "support.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct ends {
    struct tg_pipe spec; /* ours */
    int fd;              /* the gateway's, as plain as a socket is */
};

static int open_ends(void **state)
{
    static struct ends ends;
    int fds[2];
    if (tg_pipe_pair(fds) != TG_OK)
        return -1;
    tg_pipe_open(&ends.spec, fds[0]);
    ends.fd = fds[1];
    *state = &ends;
    return 0;
}

static int close_ends(void **state)
{
    struct ends *ends = *state;
    tg_pipe_close(&ends->spec);
    if (ends->fd >= 0)
        close(ends->fd);
    return 0;
}

static void expect_text(struct ends *ends, const char *text)
{
    char room[64];
    size_t n;
    assert_int_equal(tg_pipe_receive(&ends->spec, room, sizeof(room), &n), TG_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(room, text, n);
}

static enum tg_err receive(struct ends *ends)
{
    char room[64];
    size_t n;
    return tg_pipe_receive(&ends->spec, room, sizeof(room), &n);
}

static void give(struct ends *ends, const char *text)
{
    assert_int_equal(send(ends->fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void hands_out_each_byte_once(void **state)
{
    struct ends *ends = *state;
    assert_int_equal(receive(ends), TG_E_AGAIN);
    give(ends, "one");
    expect_text(ends, "one");
    assert_int_equal(receive(ends), TG_E_AGAIN);
    give(ends, "t");
    expect_text(ends, "t");
    give(ends, "wo");
    give(ends, "three");
    expect_text(ends, "wothree");
    assert_int_equal(receive(ends), TG_E_AGAIN);
}

static void takes_what_fits(void **state)
{
    struct ends *ends = *state;
    char room[2];
    size_t n;
    give(ends, "abc");
    assert_int_equal(tg_pipe_receive(&ends->spec, room, sizeof(room), &n), TG_OK);
    assert_int_equal(n, 2);
    assert_int_equal(tg_pipe_receive(&ends->spec, room, sizeof(room), &n), TG_OK);
    assert_int_equal(n, 1);
    assert_int_equal(room[0], 'c');
    assert_int_equal(tg_pipe_receive(&ends->spec, room, sizeof(room), &n), TG_E_AGAIN);
}

static void tells_the_end_after_the_bytes(void **state)
{
    struct ends *ends = *state;
    give(ends, "last");
    close(ends->fd);
    ends->fd = -1;
    expect_text(ends, "last");
    assert_int_equal(receive(ends), TG_E_CLOSED);
    assert_int_equal(receive(ends), TG_E_CLOSED);
}

static void tells_a_half_close(void **state)
{
    struct ends *ends = *state;
    size_t sent;
    give(ends, "x");
    shutdown(ends->fd, SHUT_WR);
    expect_text(ends, "x");
    assert_int_equal(receive(ends), TG_E_CLOSED);
    assert_int_equal(tg_pipe_send(&ends->spec, "y", 1, &sent), TG_OK);
    assert_int_equal(sent, 1);
}

static void tells_a_reset(void **state)
{
    struct ends *ends = *state;
    size_t sent;
    assert_int_equal(tg_pipe_send(&ends->spec, "unread", 6, &sent), TG_OK);
    close(ends->fd);
    ends->fd = -1;
    assert_int_equal(receive(ends), TG_E_RESET);
}

static void resets_once_it_has_received(void **state)
{
    struct ends *ends = *state;
    char byte;
    size_t sent;
    give(ends, "request");
    expect_text(ends, "request");
    assert_int_equal(tg_pipe_send(&ends->spec, "a", 1, &sent), TG_OK);
    tg_pipe_reset(&ends->spec);
    assert_int_equal(recv(ends->fd, &byte, 1, 0), 1); /* what was sent arrives before */
    assert_int_equal(recv(ends->fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

static void closes_without_a_reset(void **state)
{
    struct ends *ends = *state;
    char byte;
    give(ends, "request");
    expect_text(ends, "request");
    tg_pipe_close(&ends->spec);
    assert_int_equal(recv(ends->fd, &byte, 1, 0), 0);
    assert_int_equal(receive(ends), TG_E_CLOSED);
}

static void finishes_one_direction(void **state)
{
    struct ends *ends = *state;
    char byte;
    tg_pipe_finish(&ends->spec);
    assert_int_equal(recv(ends->fd, &byte, 1, 0), 0);
    give(ends, "answer");
    expect_text(ends, "answer");
}

static void sends_what_the_kernel_takes(void **state)
{
    static const char block[65536];
    struct ends *ends = *state;
    size_t sent = sizeof(block);
    for (int i = 0; i < 1000 && sent == sizeof(block); i++)
        assert_int_equal(tg_pipe_send(&ends->spec, block, sizeof(block), &sent), TG_OK);
    assert_true(sent < sizeof(block));
    close(ends->fd);
    ends->fd = -1;
    assert_int_equal(tg_pipe_send(&ends->spec, block, 1, &sent), TG_E_CLOSED);
    assert_int_equal(sent, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_ends, close_ends)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hands_out_each_byte_once),
        TEST(takes_what_fits),
        TEST(tells_the_end_after_the_bytes),
        TEST(tells_a_half_close),
        TEST(tells_a_reset),
        TEST(resets_once_it_has_received),
        TEST(closes_without_a_reset),
        TEST(finishes_one_direction),
        TEST(sends_what_the_kernel_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
