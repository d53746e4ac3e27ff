/*
 * Every bundled plugin, with each allocation of its VM refused in turn, and each of the process:
 * while it is loaded, configured and serves a request through a whole gateway (harness.h). Expected
 * of each: no crash, nothing left behind, and an honest answer. Honest is what the plugin does
 * when nothing fails, an error that says so, or a connection that ends; never an answer without
 * what the plugin was to do with it.
 *
 * An ordinary run takes some of the allocations, spread evenly, and others each time; `make sweep`
 * (TG_SWEEP_COUNT is set) takes all.
 */
#include "harness/fixture.h"

#include "base/mem.h"
#include "base/rand.h"
#include "bind/bind.h"
#include "gateway/vm_set.h"
#include "script/alloc.h"

#define SAMPLES 60 /* of a sweep, in an ordinary run */

struct sample {
    const char *plugin; /* tg.use with its configuration */
    const char *headers;
    unsigned status;
    const char *sign; /* stands in the answer when the plugin has done its part */
};

static const struct sample samples[] = {
    {"tg.use 'acl' { allow = { 'staff' } }", "", 403, "not_in_group"},
    {"tg.use 'access-log' { path = 'stderr', only_status = { '404' } }", "", 200, "\"target\":"},
    {"tg.use 'cors' { origins = { 'https://*.example.test', 'https://a.test' }, credentials = true,"
     " methods = { 'GET', 'PUT' }, max_age = '1h' }",
     "Origin: https://x.example.test\r\n", 200, "https://x.example.test"},
    {"tg.use 'headers' { request = { set = { ['x-a'] = 'marked' }, remove = { 'x-b' } },"
     " response = { add = { ['x-c'] = 'd' }, rename = { server = 'x-server' } } }",
     "X-B: b\r\n", 200, "[\"x-a\",\"marked\"]"},
    {"tg.use 'ip-restriction' { deny = { '192.0.2.0/24' } }", "", 403, "address_not_allowed"},
    {"tg.use 'key-auth' {}", "X-Api-Key: acme-key\r\n", 200, "[\"x-consumer-name\",\"acme\"]"},
    {"tg.use 'key-auth' { cookie = 'k', query = 'k' }", "Cookie: k=acme-key; s=1\r\n", 200,
     "[\"cookie\",\"s=1\"]"},
    {"tg.use 'key-auth' {}", "X-Api-Key: acme-kez\r\n", 401, "key_unknown"},
    {"tg.use 'key-auth' { header = 'authorization', scheme = 'Bearer' }",
     "Authorization: Bearer acme-key\r\n", 200, "[\"x-consumer-name\",\"acme\"]"},
    {"tg.use 'rate-limit' { headers = { 'ratelimit', 'x-ratelimit' }, limits = {"
     " { limit = 5, per = '1m', key = { 'ip', 'header:x-a' } },"
     " { limit = 2, algorithm = 'concurrency' } } }",
     "X-A: b\r\n", 200, "\"limit-1\";r=4;t="},
    {"tg.use 'rate-limit' { limit = 5, per = '1m', key = 'consumer', absent = 'refuse' }", "", 403,
     "has no consumer"},
    {"tg.use 'redirect' { to = 'https://new.test${req.path}', status = 308 }", "", 308,
     "https://new.test/here"},
    {"tg.use 'request-size-limit' { body = '2B' }", "Content-Length: 3\r\n", 413,
     "request_too_large"},
    {"tg.use 'request-id' { trust = false }", "X-Request-Id: told\r\n", 200, "x-request-id"},
    {"tg.use 'respond' { status = 418, json = { tea = '${req.path}', list = { 1, 2 } },"
     " headers = { ['x-pot'] = '${req.method}' } }",
     "", 418, "/here"},
};

/* ---- One run ---- */

static struct {
    uint64_t growth; /* of the VM that fails; 0: none */
    uint64_t counted;
    void (*open)(lua_State *L, void *arg);
} sweep;

/* The VM counts from here, where the plugin's part begins. */
static void open_counting(lua_State *L, void *arg)
{
    sweep.open(L, arg);
    tg_alloc_fail_at(tg_vm_alloc(tg_vm_from(L)), sweep.growth);
}

static unsigned exchange(struct tg_harness *h, const struct sample *sample, char *answer,
                         size_t size)
{
    char request[512];
    unsigned status = 0;
    int fd = fixture_client(h);
    if (fd < 0)
        return 0;
    int length = snprintf(request, sizeof(request),
                          "GET /here HTTP/1.1\r\nHost: a.test\r\n%sConnection: close\r\n\r\n",
                          sample->headers);
    assert_int_equal(write(fd, request, (size_t)length), length);
    assert_int_equal(tg_harness_run(h), TG_OK);
    fixture_read(h, fd, answer, size);
    if (answer[0] != '\0')
        assert_int_equal(sscanf(answer, "HTTP/1.1 %u", &status), 1);
    return status;
}

/* Serves one request; the status, 0 when there was none, or UINT_MAX when it did not load. */
static unsigned run_once(const struct sample *sample, struct tg_snapshot *snapshot, uint64_t growth,
                         uint64_t allocation)
{
    char answer[8192];
    struct tg_harness *h = fixture_harness(NULL);
    struct tg_vm_error error;
    unsigned status = UINT_MAX;
    sweep.growth = growth;
    tg_mem_fail_at(allocation);
    enum tg_err err = tg_harness_adopt(h, snapshot, false, &error);
    sweep.counted = UINT64_MAX;
    if (err != TG_OK) {
        assert_true(allocation != 0 || error.n > 0);
    } else {
        status = exchange(h, sample, answer, sizeof(answer));
        if (allocation == 0)
            sweep.counted = tg_alloc_growths(tg_vm_alloc(tg_harness_gate(h)->vms->entries[0]->vm));
        if (status == sample->status && strstr(answer, sample->sign) == NULL)
            fail_msg("no %s in:\n%s", sample->sign, answer);
    }
    if (allocation != 0)
        sweep.counted = tg_mem_fail_count();
    tg_mem_fail_at(0);
    tg_harness_free(&h);
    return status;
}

/* ---- The sweeps ---- */

static bool find_config(void *arg, struct tg_str path, struct tg_str *text)
{
    if (tg_str_eq(path, TG_STR("gateway.lua")))
        *text = tg_str_c(arg);
    else if (tg_str_eq(path, TG_STR("acme.key")))
        *text = TG_STR("acme-key\n");
    else
        return false;
    return true;
}

static struct tg_snapshot *load(const struct sample *sample)
{
    char config[1024];
    snprintf(config, sizeof(config),
             "local tg = require 'tidegate'\n"
             "tg.listener 'http' { address = '127.0.0.1:1' }\n"
             "tg.service 'echo' { builtin = 'echo' }\n"
             "tg.consumer 'acme' { groups = { 'staff' },\n"
             "                     credentials = { key = tg.secret 'file:acme.key' } }\n"
             "tg.route 'all' { paths = { '/*' }, service = 'echo', plugins = { %s } }\n",
             sample->plugin);
    const struct tg_config_files files = {find_config, config};
    return fixture_load(&files);
}

static bool takes_all(void)
{
    return getenv("TG_SWEEP_COUNT") != NULL;
}

static size_t memory(void)
{
    return tg_mem_used(TG_MEM_PLUGIN) + tg_mem_used(TG_MEM_CONNECTION) +
           tg_mem_used(TG_MEM_CONFIG) + tg_mem_used(TG_MEM_OTHER);
}

/* One sweep over what the VM asks (`of_vm`), or the process. */
static void sweep_sample(const struct sample *sample, struct tg_snapshot *snapshot, bool of_vm)
{
    struct tg_rand rand;
    assert_int_equal(run_once(sample, snapshot, of_vm ? UINT64_MAX : 0, of_vm ? 0 : UINT64_MAX),
                     sample->status);
    uint64_t count = sweep.counted;
    uint64_t step = takes_all() ? 1 : TG_MAX(count / SAMPLES, 1u);
    size_t before = memory();
    assert_true(count > 10 && count < 100000);
    tg_rand_init_seed(&rand, (uint64_t)getpid());
    for (uint64_t nth = 1 + tg_rand_below(&rand, step); nth <= count; nth += step) {
        unsigned status = run_once(sample, snapshot, of_vm ? nth : 0, of_vm ? 0 : nth);
        if (status != 0 && status != sample->status && status < 500)
            fail_msg("%s: allocation %llu: status %u", sample->plugin, (unsigned long long)nth,
                     status);
        if (memory() != before)
            fail_msg("%s: allocation %llu leaves %zu bytes", sample->plugin,
                     (unsigned long long)nth, memory() - before);
    }
}

static void test_every_bundled_plugin(void **state)
{
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(samples); i++) {
        struct tg_snapshot *snapshot = load(&samples[i]);
        sweep_sample(&samples[i], snapshot, true);
        sweep_sample(&samples[i], snapshot, false);
        tg_snapshot_unref(&snapshot);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_bundled_plugin)};
    tg_bind_install();
    sweep.open = tg_plugin_host.open;
    tg_plugin_host.open = open_counting;
    return cmocka_run_group_tests_name("plugin sweep", tests, NULL, NULL);
}
