/*
 * What a configuration becomes in C: every kind of object, its units, defaults and references.
 */
#include "config/build.h"

#include "consumer/store.h"
#include "fixture.h"
#include "route/table.h"
#include "script/marshal.h"

#include <lauxlib.h>

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
    assert_int_equal(7, s->policy.pool.max_idle);
    assert_int_equal(limits->upstream_keepalive_timeout, s->policy.pool.idle_timeout);
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
    assert_int_equal(0, z->connect_timeout); /* the service's then */
    assert_null(z->rewrite);
    assert_null(z->redirect);
    assert_null(z->split);
    assert_null(z->canary);
    assert_null(z->mirror);
    assert_null(z->answers);
    assert_ptr_equal(&snapshot->services[0], z->service);
    assert_ptr_equal(&snapshot->routes[1], a);
    assert_true(a->preserve_host);
    assert_str("t", a->tags[0]);
    assert_null(route_for("any.test", "/v2"));
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

static void consumers_are_found_and_share_their_plugins(void **state)
{
    (void)state;
    const struct tg_consumer *a, *b, *c;
    struct tg_consumer_match match;
    write_plugins();
    write_file("key", "the-key\n");
    load_text(HEAD "tg.route 'r' { service = 'echo' }\n"
                   "tg.consumer 'a' { id = '1', groups = { 'x' }, metadata = { n = 1 },\n"
                   "  credentials = { key = tg.secret 'file:key', subject = { 's', 't' } },\n"
                   "  plugins = { tg.use './one.lua' {} } }\n"
                   "tg.consumer 'b' { plugins = { tg.use './one.lua' {} } }\n"
                   "tg.consumer 'c' { routes = { r = { tg.use './one.lua' {} } } }\n");
    struct tg_consumer_store *store = snapshot->consumers;

    assert_int_equal(3, snapshot->consumer_count);
    assert_int_equal(TG_OK, tg_consumer_find(store, TG_STR("a"), &a));
    assert_int_equal(TG_OK, tg_consumer_find(store, TG_STR("b"), &b));
    assert_int_equal(TG_OK, tg_consumer_find(store, TG_STR("c"), &c));
    assert_str("1", a->id);
    assert_true(tg_consumer_words_have(a->groups, TG_STR("x")));
    assert_true(a->metadata.n > 0);
    assert_int_equal(TG_OK,
                     tg_consumer_find_by(store, TG_CREDENTIAL_KEY, TG_STR("the-key"), &match));
    assert_ptr_equal(a, match.consumer);
    assert_int_equal(TG_OK, tg_consumer_find_by(store, TG_CREDENTIAL_SUBJECT, TG_STR("t"), &match));
    assert_int_equal(2, match.nth);
    assert_int_equal(a->plugins, b->plugins);
    const struct tg_consumer_plugins *shared = &snapshot->consumer_plugins[a->plugins - 1];
    const struct tg_consumer_plugins *own = &snapshot->consumer_plugins[c->plugins - 1];
    assert_int_equal(1, shared->chains->phase[TG_PHASE_ACCESS].n);
    assert_int_equal(0, shared->route_count);
    assert_int_equal(0, own->chains->phase[TG_PHASE_ACCESS].n);
    assert_int_equal(1, own->route_count);
    assert_int_equal(0, own->routes[0].route);
    assert_ptr_equal(shared->chains->phase[TG_PHASE_ACCESS].v[0],
                     own->routes[0].chains->phase[TG_PHASE_ACCESS].v[0]);
}

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
        TEST(consumers_are_found_and_share_their_plugins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
