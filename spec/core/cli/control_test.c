/*
 * The channel between supervisor and gateway process: messages there and back, descriptors that
 * travel with them, and packets that are no messages.
 */
#include "cli/control.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static int setup(void **state)
{
    (void)state;
    return tg_control_open(ends);
}

static int teardown(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* Descriptors that this process has open. */
static int open_count(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void test_every_field_arrives(void **state)
{
    struct tg_control_message sent = {.type = TG_CONTROL_RELOADED, .id = 7, .err = TG_E_CONFIG};
    struct tg_control_message got;

    (void)state;
    tg_control_set_text(&sent, TG_STR("gateway.lua: 2 mistakes"));
    assert_int_equal(tg_control_send(ends[0], &sent), TG_OK);
    assert_int_equal(tg_control_receive(ends[1], &got), TG_OK);
    assert_int_equal(got.type, TG_CONTROL_RELOADED);
    assert_int_equal(got.id, 7);
    assert_int_equal(got.err, TG_E_CONFIG);
    assert_string_equal(got.text, "gateway.lua: 2 mistakes");
    assert_int_equal(got.fd_count, 0);
}

static void test_messages_stay_apart_and_in_order(void **state)
{
    struct tg_control_message got;

    (void)state;
    for (int type = 0; type < TG_CONTROL_TYPES; type++) {
        struct tg_control_message sent = {.type = (enum tg_control_type)type};
        assert_int_equal(tg_control_send(ends[0], &sent), TG_OK);
    }
    for (int type = 0; type < TG_CONTROL_TYPES; type++) {
        assert_int_equal(tg_control_receive(ends[1], &got), TG_OK);
        assert_int_equal(got.type, type);
    }
    assert_int_equal(tg_control_receive(ends[1], &got), TG_E_AGAIN);
}

static void test_descriptors_arrive_and_belong_to_the_receiver(void **state)
{
    struct tg_control_message sent = {.type = TG_CONTROL_SOCKETS, .fd_count = 2};
    struct tg_control_message got;
    int pipe_ends[2];
    char byte = 0;

    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    memcpy(sent.fds, pipe_ends, sizeof(pipe_ends));
    assert_int_equal(tg_control_send(ends[0], &sent), TG_OK);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    assert_int_equal(tg_control_receive(ends[1], &got), TG_OK);
    assert_int_equal(got.fd_count, 2);
    assert_int_equal(fcntl(got.fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(got.fds[1], "x", 1), 1);
    assert_int_equal(read(got.fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(got.fds[0]);
    close(got.fds[1]);
}

static void test_as_many_descriptors_as_a_listener_has_sockets(void **state)
{
    struct tg_control_message sent = {.type = TG_CONTROL_SOCKETS,
                                      .fd_count = TG_LISTEN_SOCKETS_MAX};
    struct tg_control_message got;
    int before = open_count();

    (void)state;
    for (int i = 0; i < TG_LISTEN_SOCKETS_MAX; i++)
        sent.fds[i] = ends[0];
    assert_int_equal(tg_control_send(ends[0], &sent), TG_OK);
    assert_int_equal(tg_control_receive(ends[1], &got), TG_OK);
    assert_int_equal(got.fd_count, TG_LISTEN_SOCKETS_MAX);
    while (got.fd_count > 0)
        close(got.fds[--got.fd_count]);
    assert_int_equal(open_count(), before);
}

static void test_long_text_is_cut(void **state)
{
    struct tg_control_message sent = {.type = TG_CONTROL_RELOADED};
    struct tg_control_message got;
    char text[2 * TG_CONTROL_TEXT_MAX];

    (void)state;
    memset(text, 'x', sizeof(text));
    tg_control_set_text(&sent, tg_str(text, sizeof(text)));
    assert_int_equal(tg_control_send(ends[0], &sent), TG_OK);
    assert_int_equal(tg_control_receive(ends[1], &got), TG_OK);
    assert_int_equal(strlen(got.text), TG_CONTROL_TEXT_MAX - 1);
}

/* A packet that announces one descriptor and brings two. */
static void test_a_wrong_number_of_descriptors_closes_them(void **state)
{
    unsigned char wire[TG_CONTROL_WIRE_MAX];
    struct tg_control_message message = {.type = TG_CONTROL_SOCKETS, .fd_count = 1};
    struct iovec bytes = {wire, tg_control_encode(&message, wire)};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } ancillary;
    struct msghdr header = {.msg_iov = &bytes,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.room,
                            .msg_controllen = sizeof(ancillary.room)};
    int before = open_count();

    (void)state;
    memset(&ancillary, 0, sizeof(ancillary));
    ancillary.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&ancillary.header), ends, sizeof(ends));
    assert_true(sendmsg(ends[0], &header, 0) > 0);
    assert_int_equal(tg_control_receive(ends[1], &message), TG_E_PROTOCOL);
    assert_int_equal(message.fd_count, 0);
    assert_int_equal(open_count(), before);
}

/* Who has too many files open still hears what is wanted. */
static void test_descriptors_without_room_are_missing_and_the_message_is_not(void **state)
{
    struct tg_control_message sent = {
        .type = TG_CONTROL_RELOAD, .id = 7, .fds = {ends[0], ends[1]}, .fd_count = 2};
    struct tg_control_message got;
    struct rlimit limit, tight;
    int before = open_count();

    (void)state;
    assert_int_equal(tg_control_send(ends[0], &sent), TG_OK);
    int next = dup(0); /* the lowest that is free: one finds room, two do not */
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)next + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    enum tg_err err = tg_control_receive(ends[1], &got);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(err, TG_OK);
    assert_int_equal(got.type, TG_CONTROL_RELOAD);
    assert_int_equal(got.id, 7);
    assert_int_equal(got.fd_count, 0);
    assert_int_equal(open_count(), before);
}

static void test_bytes_that_are_no_message(void **state)
{
    unsigned char wire[TG_CONTROL_WIRE_MAX];
    struct tg_control_message message = {.type = TG_CONTROL_RELOAD};
    size_t size;

    (void)state;
    tg_control_set_text(&message, TG_STR("text"));
    size = tg_control_encode(&message, wire);
    for (size_t n = 0; n < size; n++)
        assert_int_equal(tg_control_decode(wire, n, &message), TG_E_PROTOCOL);
    for (size_t field = 0; field < 7; field++) {
        if (field == 3 || field == 4)
            continue; /* id and err may have any value */
        wire[field * 4 + 3] ^= 0x80;
        assert_int_equal(tg_control_decode(wire, size, &message), TG_E_PROTOCOL);
        wire[field * 4 + 3] ^= 0x80;
    }
    assert_int_equal(tg_control_decode(wire, size, &message), TG_OK);
}

static void test_a_closed_end_is_told_apart(void **state)
{
    struct tg_control_message message = {.type = TG_CONTROL_READY};

    (void)state;
    close(ends[0]);
    assert_int_equal(tg_control_receive(ends[1], &message), TG_E_CLOSED);
    assert_int_equal(tg_control_send(ends[1], &message), TG_E_CLOSED);
    ends[0] = dup(ends[1]);
}

static void test_a_full_queue_does_not_block(void **state)
{
    struct tg_control_message message = {.type = TG_CONTROL_REOPEN};
    enum tg_err err = TG_OK;

    (void)state;
    for (int i = 0; i < 100000 && err == TG_OK; i++)
        err = tg_control_send(ends[0], &message);
    assert_int_equal(err, TG_E_AGAIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_field_arrives),
        TEST(test_messages_stay_apart_and_in_order),
        TEST(test_descriptors_arrive_and_belong_to_the_receiver),
        TEST(test_as_many_descriptors_as_a_listener_has_sockets),
        TEST(test_long_text_is_cut),
        TEST(test_a_wrong_number_of_descriptors_closes_them),
        TEST(test_descriptors_without_room_are_missing_and_the_message_is_not),
        TEST(test_bytes_that_are_no_message),
        TEST(test_a_closed_end_is_told_apart),
        TEST(test_a_full_queue_does_not_block),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
