/*
 * What memory pressure does to requests whose bodies are still coming: tg_requests_relieve().
 */
#include "harness/fixture.h"

#include "bind/bind.h"
#include "gateway/internal.h"

#include <signal.h>

#define SEC TG_USEC_PER_SEC

static const char config[] =
    "local tg = require 'tidegate'\n"
    "tg.listener 'http' { address = '127.0.0.1:1' }\n"
    "tg.service 'orders' { targets = { { '10.0.0.1:80' } }, timeout = { connect = '30s' } }\n"
    "tg.route 'all' { service = 'orders', plugins = { tg.use 'plugins/slow.lua' {} } }\n";

static const char slow[] =
    "local P = { name = 'slow', version = '1.0.0', api = 1, stage = 'transform' }\n"
    "function P.header_filter(_, ctx) ctx:sleep '1s' end\n"
    "return P\n";

static bool find_file(void *arg, struct tg_str path, struct tg_str *text)
{
    (void)arg;
    *text = tg_str_c(tg_str_eq(path, TG_STR("gateway.lua")) ? config : slow);
    return true;
}

/* The connection to the origin comes about while the answer to the relief waits for a plugin: it
 * belongs to nobody any more. */
static void test_the_origin_is_let_go_of(void **state)
{
    static const char request[] = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na";
    const struct tg_config_files files = {find_file, NULL};
    struct tg_snapshot *snapshot = fixture_load(&files);
    struct fixture_dials dials;
    struct tg_harness *h = fixture_harness(&dials);
    struct tg_vm_error error;
    char answer[4096];
    (void)state;
    assert_int_equal(tg_harness_adopt(h, snapshot, false, &error), TG_OK);
    int fd = fixture_client(h);
    assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
    assert_int_equal(tg_harness_run(h), TG_OK);
    assert_int_equal(dials.count, 1);
    tg_harness_move(h, TG_OVERLOAD_UPLOAD);
    struct tg_gate *gate = (struct tg_gate *)(uintptr_t)tg_harness_gate(h);
    tg_requests_relieve(gate, tg_harness_clock(h)->mono);
    fixture_settle(h, &dials);
    assert_int_equal(dials.origins[0], -1); /* given up */
    tg_harness_move(h, 2 * SEC);
    assert_int_equal(tg_harness_run(h), TG_OK);
    fixture_read(h, fd, answer, sizeof(answer));
    assert_non_null(strstr(answer, "HTTP/1.1 503 "));
    assert_non_null(strstr(answer, "memory_full"));
    fixture_free(&h, &dials);
    tg_snapshot_unref(&snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_origin_is_let_go_of)};
    tg_bind_install();
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("relief", tests, NULL, NULL);
}
