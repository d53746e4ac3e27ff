/*
 * The sockets that a configuration needs, in the supervisor, on their way, and in the gateway
 * process. Both ends are played in one process.
 */
#include "cli/sockets.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 2
#define MANY    100

static struct tg_listen_set supervisor;
static struct tg_listen_set gateway;
static struct tg_boot boot;
static int ends[2];
static char said[512];
static char reason[TG_CONTROL_TEXT_MAX];

static int setup(void **state)
{
    (void)state;
    tg_listen_set_init(&supervisor);
    tg_listen_set_init(&gateway);
    if (tg_control_open(ends) != TG_OK)
        return -1;
    boot = (struct tg_boot){.sockets = &gateway, .control_fd = ends[1], .workers = WORKERS};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_listen_set_release(&supervisor);
    tg_listen_set_release(&gateway);
    close(ends[0]);
    close(ends[1]);
    return tg_mem_used(TG_MEM_OTHER) == 0 ? 0 : -1;
}

static struct tg_listener_conf listener(const char *name, const char *address)
{
    struct tg_listener_conf conf = {.name = tg_str_c(name), .address = tg_str_c(address)};
    assert_int_equal(tg_addr_parse(conf.address, &conf.addr), TG_OK);
    return conf;
}

static enum tg_err open_all(const struct tg_snapshot *snapshot)
{
    FILE *diagnostics = fmemopen(said, sizeof(said), "w");
    enum tg_err err = tg_sockets_open(&supervisor, snapshot, WORKERS, diagnostics);
    fclose(diagnostics);
    return err;
}

static void test_workers(void **state)
{
    struct tg_snapshot snapshot = {0};

    (void)state;
    assert_in_range(tg_sockets_workers(&snapshot), 1, TG_LISTEN_SOCKETS_MAX);
    snapshot.settings.workers = 3;
    assert_int_equal(tg_sockets_workers(&snapshot), 3);
    snapshot.settings.workers = 100000;
    assert_int_equal(tg_sockets_workers(&snapshot), TG_LISTEN_SOCKETS_MAX);
}

static void test_added_sockets_reach_the_gateway(void **state)
{
    struct tg_listener_conf conf = listener("http", "127.0.0.1:0");
    struct tg_snapshot snapshot = {.listeners = &conf, .listener_count = 1};
    struct tg_control_message message;
    uint32_t sent = 0;

    (void)state;
    assert_int_equal(open_all(&snapshot), TG_OK);
    assert_int_equal(tg_sockets_send(&supervisor, &sent, ends[0]), TG_OK);
    assert_int_equal(tg_control_receive(ends[1], &message), TG_OK);
    assert_int_equal(message.type, TG_CONTROL_SOCKETS);
    tg_sockets_receive(&boot, &message);
    assert_int_equal(tg_sockets_fit(&boot, &snapshot, reason), TG_OK);
    tg_listen_set_commit(&gateway);
    assert_int_equal(gateway.count, 1);
    assert_int_equal(gateway.v[0]->count, WORKERS);
    assert_true(tg_addr_eq(&gateway.v[0]->addr, &supervisor.v[0]->addr));
    /* only what is new is sent */
    tg_listen_set_commit(&supervisor);
    sent = 0;
    assert_int_equal(tg_sockets_send(&supervisor, &sent, ends[0]), TG_OK);
    assert_int_equal(tg_control_receive(ends[1], &message), TG_E_AGAIN);
}

/* Takes over all that has come, as the gateway process does; returns how many listeners. */
static unsigned take_over(void)
{
    struct tg_control_message message;
    unsigned n = 0;
    for (; tg_control_receive(ends[1], &message) == TG_OK; n++)
        tg_sockets_receive(&boot, &message);
    return n;
}

/* The channel holds some hundred messages. */
static void test_a_full_channel_is_no_failure(void **state)
{
    static char keys[MANY][32];
    static struct tg_listener_conf conf[MANY];
    struct tg_snapshot snapshot = {.listeners = conf, .listener_count = MANY};
    uint32_t sent = 0;
    unsigned rounds = 0, arrived = 0;
    enum tg_err err;

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof(keys[i]), "127.0.%u.%u:0", i / 200, i % 200 + 1);
        conf[i] = listener("many", keys[i]);
    }
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &(int){8192}, sizeof(int)), 0);
    assert_int_equal(open_all(&snapshot), TG_OK);
    do {
        err = tg_sockets_send(&supervisor, &sent, ends[0]);
        arrived += take_over();
        rounds++;
    } while (err == TG_E_AGAIN);
    assert_int_equal(err, TG_OK);
    assert_true(rounds > 1);
    assert_int_equal(arrived, MANY);
    assert_int_equal(tg_sockets_fit(&boot, &snapshot, reason), TG_OK);
}

static void test_sockets_that_did_not_come(void **state)
{
    struct tg_listener_conf conf = listener("http", "127.0.0.1:0");
    struct tg_snapshot snapshot = {.listeners = &conf, .listener_count = 1};

    (void)state;
    assert_int_equal(tg_sockets_fit(&boot, &snapshot, reason), TG_E_NOT_FOUND);
    assert_non_null(strstr(reason, "listener http: no sockets came for 127.0.0.1:0"));
}

static void test_a_single_process_opens_its_own(void **state)
{
    struct tg_listener_conf conf = listener("http", "127.0.0.1:0");
    struct tg_snapshot snapshot = {.listeners = &conf, .listener_count = 1};

    (void)state;
    boot.single = true;
    assert_int_equal(tg_sockets_fit(&boot, &snapshot, reason), TG_OK);
    assert_int_equal(gateway.v[0]->count, WORKERS);
}

/* 240.0.0.0/4 is reserved (RFC 1112, 4): no machine has it. */
static void test_every_listener_that_fails_is_told_and_none_stays(void **state)
{
    struct tg_listener_conf conf[] = {listener("one", "240.0.0.1:0"),
                                      listener("good", "127.0.0.1:0"),
                                      listener("two", "240.0.0.2:0")};
    struct tg_snapshot snapshot = {.listeners = conf, .listener_count = 3};

    (void)state;
    assert_int_equal(open_all(&snapshot), TG_E_SYSTEM);
    assert_non_null(strstr(said, "tidegate: listener one: cannot listen on 240.0.0.1:0: "));
    assert_non_null(strstr(said, "tidegate: listener two: cannot listen on 240.0.0.2:0: "));
    assert_null(strstr(said, "good"));
    assert_int_equal(supervisor.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers),
        TEST(test_added_sockets_reach_the_gateway),
        TEST(test_a_full_channel_is_no_failure),
        TEST(test_sockets_that_did_not_come),
        TEST(test_a_single_process_opens_its_own),
        TEST(test_every_listener_that_fails_is_told_and_none_stays),
    };

    return cmocka_run_group_tests_name("sockets", tests, NULL, NULL);
}
