/*
 * Whole loads: revisions and references, what a refusal writes and leaves behind, and memory that
 * runs out anywhere on the way.
 */
#include "fixture.h"

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

static void mistakes_are_all_written(void **state)
{
    (void)state;
    write_file("gateway.lua", HEAD "tg.settings { worker = 1 }\n"
                                   "tg.route 'r' { service = 'ecko', paths = { 'x' } }\n");
    assert_int_equal(TG_E_CONFIG, load());

    assert_null(snapshot);
    assert_non_null(strstr(text, "gateway.lua:4:15: settings.worker: unknown field [TG1204]\n"));
    assert_non_null(strstr(text, "      = did you mean \"echo\"?"));
    assert_non_null(
        strstr(text, "routes.r.paths[1]: \"x\" is not a path: a path begins with / [TG1202]\n"));
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

static void check_tells_by_its_exit_status(void **state)
{
    (void)state;
    char *said = NULL;
    size_t n;
    FILE *out = open_memstream(&said, &n);

    write_file("gateway.lua", HEAD);
    assert_int_equal(0, tg_config_check(&(struct tg_check){.path = path}, out, out));
    fflush(out);
    assert_non_null(strstr(said, "is valid: 1 listener, 1 service, 0 routes, 0 plugins\n"));
    write_file("gateway.lua", "nonsense");
    assert_int_equal(1, tg_config_check(&(struct tg_check){.path = path}, out, out));
    fclose(out);
    free(said);
}

/* ---- Where the admin listener is ------------------------------------------------------------- */

static enum tg_err find_admin(const char *config, char *out, size_t size)
{
    write_file("gateway.lua", config);
    FILE *diagnostics = open_text();
    enum tg_err err = tg_config_find_admin(path, diagnostics, out, size);
    fclose(diagnostics);
    return err;
}

#define ADMIN "tg.settings { admin = { listen = '127.0.0.1:9901' } }\n"

static void the_admin_listener_is_found_whatever_else_is_wrong(void **state)
{
    static const char *const configs[] = {
        HEAD ADMIN,
        HEAD ADMIN "tg.route 'r' { service = 'absent' }\n",
        HEAD ADMIN "tg.consumer 'c' { metadata = { a = ('x'):rep(100000) } }\n",
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(configs); i++) {
        assert_int_equal(TG_OK, find_admin(configs[i], out, sizeof(out)));
        assert_string_equal("127.0.0.1:9901", out);
        assert_int_equal(TG_E_LIMIT, find_admin(configs[i], out, 14));
    }
    assert_int_equal(TG_E_CONFIG, load());
    assert_non_null(strstr(text, "consumers.c.metadata"));
    assert_int_equal(TG_OK, find_admin(HEAD, out, sizeof(out)));
    assert_string_equal("", out);
    assert_int_equal(TG_E_CONFIG, find_admin(HEAD "tg.nothing()\n", out, sizeof(out)));
}

/* TG_E_LIMIT is said of the address alone. */
static void what_is_too_large_to_evaluate_is_a_mistake_like_another(void **state)
{
    char out[64];

    (void)state;
    assert_int_equal(0, setenv("TIDEGATE_CONFIG_MIB", "8", 1));
    enum tg_err early = find_admin(HEAD "local s = ('x'):rep(2 ^ 24)\n" ADMIN, out, sizeof(out));
    enum tg_err late = find_admin(HEAD ADMIN "local s = ('x'):rep(2 ^ 24)\n", out, sizeof(out));
    unsetenv("TIDEGATE_CONFIG_MIB");
    assert_int_equal(TG_E_CONFIG, early);
    assert_int_equal(TG_OK, late);
    assert_string_equal("127.0.0.1:9901", out);
    assert_non_null(strstr(text, "needs more than 8 MiB"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(revisions_count_what_was_loaded),
        TEST(the_last_reference_frees),
        TEST(mistakes_are_all_written),
        TEST(routes_that_take_the_same_requests_are_told),
        TEST(check_tells_by_its_exit_status),
        TEST(the_admin_listener_is_found_whatever_else_is_wrong),
        TEST(what_is_too_large_to_evaluate_is_a_mistake_like_another),
        TEST(running_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
