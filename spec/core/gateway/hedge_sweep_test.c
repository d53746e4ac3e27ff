/*
 * A hedged request through a whole gateway, with each allocation of the process refused in turn.
 * Expected of each: no crash, nothing left behind, and the answer of one of the two origins, an
 * error, or a connection that ends.
 */
#include "harness/fixture.h"

#include "base/mem.h"
#include "bind/bind.h"

#include <signal.h>

#define MS       TG_USEC_PER_MSEC
#define SAMPLES  100 /* of a sweep, in an ordinary run */
#define EXPECTED "the second"

static const char config[] =
    "local tg = require 'tidegate'\n"
    "tg.listener 'http' { address = '127.0.0.1:1' }\n"
    "tg.service 'orders' { targets = { { '10.0.0.1:80' }, { '10.0.0.2:80' } },\n"
    "                      hedge = { after = '50ms', methods = { 'PUT' } } }\n"
    "tg.route 'all' { service = 'orders' }\n";

static struct fixture_dials dials;

/* The client's part, and that of the origins: the second one answers, the first never does. */
static void exchange(struct tg_harness *h, char *answer, size_t size)
{
    static const char request[] = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                                  "Connection: close\r\n\r\nbody";
    static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" EXPECTED;
    int fd = fixture_client(h);
    if (fd < 0)
        return;
    (void)!write(fd, request, sizeof(request) - 1); /* it may be closed already */
    assert_int_equal(tg_harness_run(h), TG_OK);
    fixture_settle(h, &dials);
    tg_harness_move(h, 50 * MS);
    assert_int_equal(tg_harness_run(h), TG_OK);
    fixture_settle(h, &dials);
    if (dials.count > 1 && dials.origins[dials.count - 1] >= 0)
        (void)!write(dials.origins[dials.count - 1], response, sizeof(response) - 1);
    assert_int_equal(tg_harness_run(h), TG_OK);
    fixture_read(h, fd, answer, size);
}

static uint64_t run_once(struct tg_snapshot *snapshot, uint64_t allocation, char *answer,
                         size_t size)
{
    struct tg_harness *h = fixture_harness(&dials);
    struct tg_vm_error error;
    answer[0] = '\0';
    assert_int_equal(tg_harness_adopt(h, snapshot, false, &error), TG_OK);
    tg_mem_fail_at(allocation);
    exchange(h, answer, size);
    uint64_t count = tg_mem_fail_count();
    tg_mem_fail_at(0);
    fixture_free(&h, &dials);
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
    struct tg_snapshot *snapshot = fixture_load(&files);
    char answer[4096];
    unsigned answered = 0;
    (void)state;
    uint64_t count = run_once(snapshot, UINT64_MAX, answer, sizeof(answer));
    assert_non_null(strstr(answer, EXPECTED));
    assert_int_equal(dials.count, 2);
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
