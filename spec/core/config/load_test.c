/*
 * Whole loads: what a configuration becomes in C, which verdict each failure has, that nothing is
 * left behind, and that memory may run out anywhere on the way.
 */
#include "config/load.h"

#include "base/mem.h"
#include "route/table.h"
#include "script/marshal.h"

#include "support.h"

#include <lauxlib.h>

static char folder[64];
static char path[128]; /* of gateway.lua */
static char *text;     /* what the last load wrote */
static size_t text_size;
static struct tg_snapshot *snapshot;

static int setup(void **state)
{
    (void)state;
    support_folder(folder);
    snprintf(path, sizeof(path), "%s/gateway.lua", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_mem_fail_at(0);
    tg_snapshot_unref(&snapshot);
    support_remove(folder);
    free(text);
    text = NULL;
    return tg_mem_used(TG_MEM_CONFIG) + tg_mem_used(TG_MEM_PLUGIN) == 0 ? 0 : -1;
}

static void write_file(const char *name, const char *content)
{
    char full[256];

    snprintf(full, sizeof(full), "%s/%s", folder, name);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

/* Loads gateway.lua; the outcome stands in snapshot and text. */
static enum tg_err load(void)
{
    free(text);
    text = NULL;
    FILE *out = open_memstream(&text, &text_size);
    assert_non_null(out);
    enum tg_err err = tg_config_load(path, out, &snapshot);
    fclose(out);
    return err;
}

#define HEAD                                                                                       \
    "local tg = require 'tidegate'\n"                                                              \
    "tg.listener 'a' { address = '127.0.0.1:8080' }\n"                                             \
    "tg.service 'echo' { builtin = 'echo' }\n"

static void load_text(const char *config)
{
    write_file("gateway.lua", config);
    enum tg_err err = load();
    if (err != TG_OK)
        fail_msg("%s: %s", tg_err_text(err), text);
}

static void assert_str(const char *expected, struct tg_str s)
{
    assert_int_equal(strlen(expected), s.n);
    assert_memory_equal(expected, s.p, s.n);
    assert_int_equal('\0', s.p[s.n]);
}

/* ---- What is frozen -------------------------------------------------------------------------- */

static void settings_are_in_the_units_of_c(void **state)
{
    (void)state;
    load_text(HEAD "tg.settings { workers = 3, server_name = 'gw', log = { level = 'warn' },\n"
                   "  limits = { request = { headers = '16KiB', deadline = '1500ms' } } }\n");
    struct tg_limits defaults;
    tg_limits_init(&defaults);
    const struct tg_settings *settings = &snapshot->settings;

    assert_int_equal(3, settings->workers);
    assert_str("gw", settings->server_name);
    assert_int_equal(TG_LOG_WARN, settings->log_level);
    assert_int_equal(16384, settings->limits.request_headers);
    assert_int_equal(1500000, settings->limits.request_deadline);
    assert_int_equal(defaults.connection_requests, settings->limits.connection_requests);
    assert_int_equal(defaults.plugin_cpu, settings->limits.plugin_cpu);
    assert_str(path, snapshot->path);
}

static void every_limit_has_its_default(void **state)
{
    (void)state;
    load_text(HEAD);
    struct tg_limits defaults;
    tg_limits_init(&defaults);

    assert_memory_equal(&defaults, &snapshot->settings.limits, sizeof(defaults));
}

static void listeners_have_addresses_and_networks(void **state)
{
    (void)state;
    load_text(HEAD
              "tg.listener 'b' { address = '[::0001]:0', trusted = { '10.1.2.3/8', 'fd00::/8' },\n"
              "  allow_trace = true }\n");
    const struct tg_listener_conf *b = &snapshot->listeners[1];
    struct tg_addr inside;

    assert_int_equal(2, snapshot->listener_count);
    assert_str("127.0.0.1:8080", snapshot->listeners[0].address);
    assert_int_equal(8080, tg_addr_port(&snapshot->listeners[0].addr));
    assert_str("b", b->name);
    assert_int_equal(1, b->index);
    assert_str("[::1]:0", b->address);
    assert_int_equal(2, b->trusted_count);
    assert_int_equal(TG_OK, tg_addr_parse_ip(TG_STR("10.200.0.1"), &inside));
    assert_true(tg_cidr_contains(&b->trusted[0], &inside));
    assert_true(b->allow_trace);
    assert_false(b->allow_connect);
}

static void services_fall_back_to_limits(void **state)
{
    (void)state;
    load_text(HEAD
              "tg.service 's' { targets = { { '10.0.0.1:80', weight = 3 }, { '10.0.0.2:81' } },\n"
              "  timeout = { connect = '250ms' }, pool = { max_idle = 7 }, tags = { 'x' } }\n");
    const struct tg_service_conf *s = &snapshot->services[1];
    const struct tg_limits *limits = &snapshot->settings.limits;

    assert_true(snapshot->services[0].builtin_echo);
    assert_false(s->builtin_echo);
    assert_int_equal(2, s->target_count);
    assert_str("10.0.0.2:81", s->targets[1].name);
    assert_int_equal(3, s->targets[0].weight);
    assert_int_equal(1, s->targets[1].weight);
    assert_int_equal(250000, s->connect_timeout);
    assert_int_equal(limits->upstream_response_timeout, s->response_timeout);
    assert_int_equal(7, s->keepalive);
    assert_int_equal(limits->upstream_keepalive_timeout, s->keepalive_timeout);
    assert_int_equal(1, s->tag_count);
    assert_str("x", s->tags[0]);
}

/* The route that takes a GET, by the snapshot's own table; NULL when none does. */
static const struct tg_route_conf *route_for(const char *host, const char *request_path)
{
    struct tg_route_query query = {
        .host = tg_str_c(host), .path = tg_str_c(request_path), .method = TG_STR("GET")};
    struct tg_route_match match;

    if (tg_route_match(snapshot->table, &query, &match) != TG_ROUTE_FOUND)
        return NULL;
    return &snapshot->routes[(uintptr_t)match.handle];
}

static void the_route_table_answers_with_indexes(void **state)
{
    (void)state;
    load_text(HEAD "tg.route 'z' { paths = { '/v1/*', '/users/{id}' }, service = 'echo',\n"
                   "  strip_prefix = '/v1', paths = { '/v1/*' }, timeout = { idle = '9s' } }\n"
                   "tg.route 'a' { hosts = { '*.example.test' }, service = 'echo',\n"
                   "  preserve_host = true, tags = { 't' } }\n");
    const struct tg_route_conf *z = route_for("any.test", "/v1/x");
    const struct tg_route_conf *a = route_for("b.Example.test", "/");

    assert_ptr_equal(&snapshot->routes[0], z);
    assert_str("z", z->name);
    assert_str("/v1", z->strip_prefix);
    assert_int_equal(9000000, z->io_timeout);
    assert_int_equal(z->service->connect_timeout, z->connect_timeout);
    assert_ptr_equal(&snapshot->services[0], z->service);
    assert_ptr_equal(&snapshot->routes[1], a);
    assert_true(a->preserve_host);
    assert_str("t", a->tags[0]);
    assert_null(route_for("any.test", "/v2"));
}

#define PLUGIN(name, stage, phase)                                                                 \
    "local S = require 'tidegate.schema'\n"                                                        \
    "local P = { name = '" name "', version = '1.0', api = 1, stage = '" stage "',\n"              \
    "  schema = S.record { wait = S.duration():default '2s', list = S.list(S.string()):default "   \
    "{} "                                                                                          \
    "},\n  needs = { body = 'both' }, limits = { memory = '64KiB' }, exports = { 'k' } }\n"        \
    "function P." phase "() end\nreturn P\n"

static void write_plugins(void)
{
    write_file("one.lua", "local util = require 'util'\n" PLUGIN("one", "guard", "access"));
    write_file("two.lua", PLUGIN("two", "edge", "access"));
    write_file("three.lua", PLUGIN("three", "observe", "rewrite"));
    write_file("util.lua", "return {}\n");
}

static void plugins_carry_their_texts(void **state)
{
    (void)state;
    write_plugins();
    load_text(HEAD "tg.global { tg.use './one.lua' {} }\n");
    const struct tg_plugin_conf *one = &snapshot->plugins[0];

    assert_int_equal(1, snapshot->plugin_count);
    assert_str("one", one->name);
    assert_memory_equal("local util", one->source.p, 10);
    assert_int_equal(1, one->module_count);
    assert_str("util", one->modules[0].name);
    assert_str("return {}\n", one->modules[0].source);
    assert_int_equal(1u << TG_PHASE_ACCESS, one->phases);
    assert_true(one->wants_request_body && one->wants_response_body);
    assert_str("k", one->exports[0]);
    assert_int_equal(snapshot->settings.limits.plugin_heap, one->heap);
}

static void digests_follow_the_texts(void **state)
{
    (void)state;
    write_plugins();
    load_text(HEAD "tg.global { tg.use './one.lua' {} }\n");
    uint64_t before = snapshot->plugins[0].digest;
    tg_snapshot_unref(&snapshot);
    assert_int_equal(TG_OK, load());
    assert_true(before == snapshot->plugins[0].digest);
    tg_snapshot_unref(&snapshot);
    write_file("util.lua", "return { 1 }\n");
    assert_int_equal(TG_OK, load());
    assert_true(before != snapshot->plugins[0].digest);
}

static void instances_carry_normalised_configurations(void **state)
{
    (void)state;
    write_plugins();
    load_text(HEAD "tg.global { tg.use('./one.lua', { id = 'x', on_error = 'skip',\n"
                   "  limits = { cpu = '5ms' } }) { list = { 'a', 'b' } } }\n");
    const struct tg_instance_conf *instance = &snapshot->instances[0];
    lua_State *L = luaL_newstate();

    assert_ptr_equal(&snapshot->plugins[0], instance->plugin);
    assert_str("x", instance->id);
    assert_int_equal(TG_ON_ERROR_SKIP, instance->on_error);
    assert_int_equal(65536, instance->memory);
    assert_int_equal(5000, instance->cpu);
    assert_int_equal(snapshot->settings.limits.plugin_churn, instance->churn);
    assert_int_equal(TG_OK, tg_marshal_decode(L, instance->conf));
    lua_getfield(L, -1, "wait");
    assert_int_equal(2, lua_tointeger(L, -1));
    lua_getfield(L, -2, "list");
    assert_int_equal(2, lua_objlen(L, -1));
    lua_close(L);
}

static void conditions_are_compiled(void **state)
{
    (void)state;
    write_plugins();
    load_text(HEAD "tg.global { tg.use('./one.lua', { when = 'method == \"POST\"' }) {} }\n");
    assert_non_null(snapshot->instances[0].when);

    write_file("gateway.lua",
               HEAD "tg.global { tg.use('./one.lua', { when = 'method ==' }) {} }\n");
    tg_snapshot_unref(&snapshot);
    assert_int_equal(TG_E_CONFIG, load());
    assert_non_null(
        strstr(text, "gateway.lua:4:35: global[1] (./one.lua).when: \"method ==\" is not"));
}

static void chains_are_ordered_and_belong_to_listeners(void **state)
{
    (void)state;
    write_plugins();
    load_text(HEAD
              "tg.listener 'b' { address = '127.0.0.1:0', plugins = { tg.use './three.lua' {} } }\n"
              "tg.route 'r' { service = 'echo', plugins = { tg.use './one.lua' {} } }\n"
              "tg.global { tg.use './two.lua' {} }\n");
    const struct tg_listener_conf *listeners = snapshot->listeners;
    const struct tg_chain *access = &snapshot->routes[0].chains[1]->phase[TG_PHASE_ACCESS];

    assert_int_equal(2, access->n);
    assert_str("two", access->v[0]->plugin->name);
    assert_str("one", access->v[1]->plugin->name);
    assert_int_equal(0, listeners[0].chains->phase[TG_PHASE_REWRITE].n);
    assert_int_equal(1, listeners[1].chains->phase[TG_PHASE_REWRITE].n);
    assert_int_equal(0, listeners[1].chains->phase[TG_PHASE_ACCESS].n);
}

static void revisions_count_what_was_loaded(void **state)
{
    (void)state;
    load_text(HEAD);
    uint64_t first = snapshot->revision;
    tg_snapshot_unref(&snapshot);
    write_file("gateway.lua", "nonsense");
    assert_int_equal(TG_E_CONFIG, load());
    load_text(HEAD);

    assert_int_equal(first + 1, snapshot->revision);
}

static void the_last_reference_frees(void **state)
{
    (void)state;
    load_text(HEAD);
    struct tg_snapshot *other = tg_snapshot_ref(snapshot);

    tg_snapshot_unref(&snapshot);
    assert_null(snapshot);
    assert_str("a", other->listeners[0].name);
    tg_snapshot_unref(&other);
    assert_int_equal(0, tg_mem_used(TG_MEM_CONFIG));
}

/* ---- What is refused ------------------------------------------------------------------------- */

static void mistakes_are_all_written(void **state)
{
    (void)state;
    write_file("gateway.lua", HEAD "tg.settings { worker = 1 }\n"
                                   "tg.route 'r' { service = 'ecko', paths = { 'x' } }\n");
    assert_int_equal(TG_E_CONFIG, load());

    assert_null(snapshot);
    assert_non_null(strstr(text, "gateway.lua:4:15: settings.worker: unknown field\n"));
    assert_non_null(strstr(text, "      = did you mean \"echo\"?"));
    assert_non_null(strstr(text, "routes.r.paths[1]: \"x\" is not a path: a path begins with /\n"));
    assert_non_null(strstr(text, "3 errors in 1 file — configuration not loaded\n"));
}

static void routes_that_take_the_same_requests_are_told(void **state)
{
    (void)state;
    write_file("gateway.lua", HEAD "tg.route 'a' { service = 'echo', paths = { '/x/{a}' } }\n"
                                   "tg.route 'b' { service = 'echo', paths = { '/x/{b}' } }\n");
    assert_int_equal(TG_E_CONFIG, load());

    assert_non_null(strstr(text, "gateway.lua:5:1: routes.b: route \"a\" takes the same requests"));
}

static void an_endless_loop_ends(void **state)
{
    (void)state;
    write_file("gateway.lua", "while true do pcall(function() while true do end end) end\n");
    assert_int_equal(TG_E_TIMEOUT, load());

    assert_non_null(strstr(text, "gateway.lua:1: the configuration takes longer than 5 s"));
}

static void memory_is_bounded(void **state)
{
    (void)state;
    write_file("gateway.lua", "local t = {}\nfor i = 1, 1e9 do t[i] = 'x' .. i end\n");
    assert_int_equal(TG_E_LIMIT, load());
    assert_non_null(strstr(text, "needs more than 64 MiB"));

    write_file("gateway.lua", "local s = ('x'):rep(2 ^ 30)\n");
    assert_int_equal(TG_E_LIMIT, load());
}

static void garbage_does_not_count(void **state)
{
    (void)state;
    load_text("local keep = {}\nfor i = 1, 32 do keep[i] = ('x'):rep(2 ^ 20) .. i end\n"
              "for i = 1, 200 do local s = ('y'):rep(2 ^ 20) .. i end\n" HEAD);
}

static void endless_patterns_end(void **state)
{
    (void)state;
    write_file("gateway.lua", "local at = ('a'):rep(2000):find(('.-'):rep(8) .. 'b')\n");
    assert_int_equal(TG_E_CONFIG, load());
    assert_non_null(strstr(text, "gateway.lua:1: "));
}

static void only_regular_files_are_read(void **state)
{
    char fifo[256];

    (void)state;
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    assert_int_equal(0, mkfifo(fifo, 0600));
    write_file("gateway.lua", HEAD "local x = tg.file 'fifo'\n");
    assert_int_equal(TG_E_CONFIG, load());
    assert_non_null(strstr(text, "not a regular file"));
}

static void check_tells_by_its_exit_status(void **state)
{
    (void)state;
    char *said = NULL;
    size_t n;
    FILE *out = open_memstream(&said, &n);

    write_file("gateway.lua", HEAD);
    assert_int_equal(0, tg_config_check(path, out));
    fflush(out);
    assert_non_null(strstr(said, "is valid: 1 listener, 1 service, 0 routes, 0 plugins\n"));
    write_file("gateway.lua", "nonsense");
    assert_int_equal(1, tg_config_check(path, out));
    fclose(out);
    free(said);
}

/* ---- When memory runs out -------------------------------------------------------------------- */

/* Every allocation of a load fails once: densely at first, where each is a different one, then at
 * growing distances, since most are the VM's own. */
static void running_out_of_memory_leaves_nothing(void **state)
{
    (void)state;
    write_plugins();
    write_file("gateway.lua", HEAD "tg.global { tg.use('./one.lua', { when = 'path' }) {} }\n"
                                   "tg.route 'r' { service = 'echo' }\n");
    tg_mem_fail_at(UINT64_MAX);
    assert_int_equal(TG_OK, load());
    uint64_t all = tg_mem_fail_count();
    tg_snapshot_unref(&snapshot);

    for (uint64_t at = 1; at <= all; at += 1 + at / 40) {
        tg_mem_fail_at(at);
        enum tg_err err = load();
        tg_mem_fail_at(0);
        if (err == TG_OK) /* the script's own pcall, or an optional buffer, bore it */
            tg_snapshot_unref(&snapshot);
        assert_int_equal(0, tg_mem_used(TG_MEM_CONFIG));
    }
    for (uint64_t before = 0; before < 60 && before < all; before++) {
        tg_mem_fail_at(all - before);
        if (load() == TG_OK)
            tg_snapshot_unref(&snapshot);
        tg_mem_fail_at(0);
        assert_int_equal(0, tg_mem_used(TG_MEM_CONFIG));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings_are_in_the_units_of_c),
        TEST(every_limit_has_its_default),
        TEST(listeners_have_addresses_and_networks),
        TEST(services_fall_back_to_limits),
        TEST(the_route_table_answers_with_indexes),
        TEST(plugins_carry_their_texts),
        TEST(digests_follow_the_texts),
        TEST(instances_carry_normalised_configurations),
        TEST(conditions_are_compiled),
        TEST(chains_are_ordered_and_belong_to_listeners),
        TEST(revisions_count_what_was_loaded),
        TEST(the_last_reference_frees),
        TEST(mistakes_are_all_written),
        TEST(routes_that_take_the_same_requests_are_told),
        TEST(an_endless_loop_ends),
        TEST(memory_is_bounded),
        TEST(garbage_does_not_count),
        TEST(endless_patterns_end),
        TEST(only_regular_files_are_read),
        TEST(check_tells_by_its_exit_status),
        TEST(running_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
