/*
 * A hedged request through a whole gateway, with each allocation of the process refused in turn.
 * Expected of each: no crash, nothing left behind, and the answer of one of the two origins, an
 * error, or a connection that ends.
 */
#include "harness/harness.h"

#include "base/mem.h"
#include "bind/bind.h"
#include "config/load.h"
#include "config/scratch_host.h"
#include "gateway/vm_set.h"
#include "support.h"

#include <signal.h>

#define MS       TG_USEC_PER_MSEC
#define DIALS    8
#define SAMPLES  100 /* of a sweep, in an ordinary run */
#define EXPECTED "the second"

static const char config[] =
    "local tg = require 'tidegate'\n"
    "tg.listener 'http' { address = '127.0.0.1:1' }\n"
    "tg.service 'orders' { targets = { { '10.0.0.1:80' }, { '10.0.0.2:80' } },\n"
    "                      hedge = { after = '50ms', methods = { 'PUT' } } }\n"
    "tg.route 'all' { service = 'orders' }\n";

/* What the gateway wants connected. */
static uint32_t dialled[DIALS];
static unsigned dial_count, settled;
static int origins[DIALS];

static void on_dial(void *arg, uint32_t id, const struct tg_addr *addr)
{
    (void)arg, (void)addr;
    assert_true(dial_count < DIALS);
    dialled[dial_count++] = id;
}

static void on_line(void *arg, enum tg_log_level level, const char *component,
                    struct tg_str message, const struct tg_log_field *fields, size_t count)
{
    (void)arg, (void)level, (void)component, (void)message, (void)fields, (void)count;
}

static void on_leave(void *arg, const struct tg_request *r, enum tg_run_outcome outcome,
                     uint64_t cpu)
{
    (void)arg, (void)r, (void)outcome, (void)cpu;
}

static void on_failed(void *arg, const struct tg_request *r, struct tg_str what, enum tg_kill kill)
{
    (void)arg, (void)r, (void)what, (void)kill;
}

static void on_request(void *arg, const struct tg_request *r)
{
    (void)arg, (void)r;
}

static const struct tg_harness_events nobody = {
    .on_dial = on_dial,
    .on_line = on_line,
    .on_enter = on_request,
    .on_leave = on_leave,
    .on_failed = on_failed,
    .on_wrote = NULL, /* not asked for */
    .on_end = on_request,
};

/* Every connection that was asked for comes about. */
static void connect_all(struct tg_harness *h)
{
    while (settled < dial_count) {
        unsigned i = settled++;
        if (tg_harness_settle_dial(h, dialled[i], TG_OK, &origins[i]) != TG_OK)
            origins[i] = -1;
        assert_int_equal(tg_harness_run(h), TG_OK);
    }
}

/* The client's part, and that of the origins: the second one answers, the first never does. */
static void exchange(struct tg_harness *h, char *answer, size_t size)
{
    static const char request[] = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                                  "Connection: close\r\n\r\nbody";
    static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" EXPECTED;
    struct tg_addr peer;
    int fd;
    size_t n = 0;
    assert_int_equal(tg_addr_parse(TG_STR("192.0.2.1:1000"), &peer), TG_OK);
    if (tg_harness_connect(h, 0, &peer, &fd) != TG_OK)
        return;
    (void)!write(fd, request, sizeof(request) - 1); /* it may be closed already */
    assert_int_equal(tg_harness_run(h), TG_OK);
    connect_all(h);
    tg_harness_move(h, 50 * MS);
    assert_int_equal(tg_harness_run(h), TG_OK);
    connect_all(h);
    if (dial_count > 1 && origins[dial_count - 1] >= 0)
        (void)!write(origins[dial_count - 1], response, sizeof(response) - 1);
    assert_int_equal(tg_harness_run(h), TG_OK);
    for (ssize_t got = 1; got > 0 && n<size - 1; n += got> 0 ? (size_t)got : 0)
        got = read(fd, answer + n, size - 1 - n);
    answer[n] = '\0';
    close(fd);
    assert_int_equal(tg_harness_run(h), TG_OK);
}

static uint64_t run_once(struct tg_snapshot *snapshot, uint64_t allocation, char *answer,
                         size_t size)
{
    struct tg_harness *h;
    struct tg_vm_error error;
    answer[0] = '\0';
    dial_count = settled = 0;
    assert_int_equal(tg_harness_new(UINT64_C(1700000000) * 1000000, 1, &nobody, NULL, &h), TG_OK);
    assert_int_equal(tg_harness_adopt(h, snapshot, false, &error), TG_OK);
    tg_mem_fail_at(allocation);
    exchange(h, answer, size);
    uint64_t count = tg_mem_fail_count();
    tg_mem_fail_at(0);
    for (unsigned i = 0; i < settled; i++) {
        if (origins[i] >= 0)
            close(origins[i]);
    }
    tg_harness_free(&h);
    return count;
}

static bool find_config(void *arg, struct tg_str path, struct tg_str *text)
{
    *text = tg_str_c(arg);
    return tg_str_eq(path, TG_STR("gateway.lua"));
}

static size_t memory(void)
{
    return tg_mem_used(TG_MEM_CONNECTION) + tg_mem_used(TG_MEM_CONFIG) + tg_mem_used(TG_MEM_OTHER);
}

static void test_a_hedged_request(void **state)
{
    const struct tg_config_files files = {find_config, (void *)(uintptr_t)config};
    struct tg_snapshot *snapshot = NULL;
    char answer[4096];
    unsigned answered = 0;
    (void)state;
    assert_int_equal(tg_config_load_over("gateway.lua", &files, stderr, &snapshot), TG_OK);
    uint64_t count = run_once(snapshot, UINT64_MAX, answer, sizeof(answer));
    assert_non_null(strstr(answer, EXPECTED));
    assert_int_equal(dial_count, 2);
    uint64_t step = getenv("TG_SWEEP_COUNT") != NULL ? 1 : TG_MAX(count / SAMPLES, 1u);
    size_t before = memory();
    for (uint64_t nth = 1; nth <= count; nth += step) {
        unsigned status = 0;
        run_once(snapshot, nth, answer, sizeof(answer));
        if (answer[0] != '\0')
            assert_int_equal(sscanf(answer, "HTTP/1.1 %u", &status), 1);
        if (status != 0 && status < 500 && strstr(answer, EXPECTED) == NULL)
            fail_msg("allocation %llu: %s", (unsigned long long)nth, answer);
        answered += status == 200;
        if (memory() != before)
            fail_msg("allocation %llu leaves %zu bytes", (unsigned long long)nth,
                     memory() - before);
    }
    assert_true(count > 5 && answered > 0);
    tg_snapshot_unref(&snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_hedged_request)};
    tg_bind_install();
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("hedge sweep", tests, NULL, NULL);
}
