/*
 * Lists of fields: each operation by example, then all of them in random order against a model that
 * is an array of strings.
 */
#include "http/field.h"

#include "http_fixture.h"

static struct tg_fields fields;

static int setup(void **state)
{
    int rc = fixture_init(state);
    tg_fields_init(&fields, &arena);
    return rc;
}

static void add(const char *name, const char *value)
{
    assert_int_equal(tg_fields_add(&fields, tg_str_c(name), tg_str_c(value)), TG_OK);
}

/* The list as "name=value;name=value". */
static void assert_list(const char *want)
{
    char text[1024];
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < fields.n; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s=%.*s", i > 0 ? ";" : "",
                              TG_STR_ARG(fields.v[i].name), TG_STR_ARG(fields.v[i].value));
    assert_string_equal(text, want);
}

static void test_known_names_have_numbers(void **state)
{
    static const char *const names[] = {
        "",
#define TG_FIELD(id, name, flags) name,
#include "http/field.def"
#undef TG_FIELD
    };
    (void)state;
    for (unsigned id = 1; id < TG_FIELDS; id++) {
        char upper[64];
        size_t n = strlen(names[id]);
        for (size_t i = 0; i <= n; i++) {
            bool letter = names[id][i] >= 'a' && names[id][i] <= 'z';
            upper[i] = letter ? (char)(names[id][i] & ~0x20) : names[id][i];
        }
        assert_int_equal(tg_field_id(tg_str_c(names[id])), id);
        assert_int_equal(tg_field_id(tg_str_c(upper)), id);
        assert_int_equal(tg_field_id(tg_str(upper, n - 1)), TG_FIELD_OTHER);
    }
    assert_int_equal(tg_field_id(TG_STR("")), TG_FIELD_OTHER);
    assert_int_equal(tg_field_id(TG_STR("x-other")), TG_FIELD_OTHER);
}

static void test_what_names_may_do(void **state)
{
    (void)state;
    assert_true(tg_field_is_hop(TG_FIELD_TRANSFER_ENCODING));
    assert_true(tg_field_is_hop(TG_FIELD_KEEP_ALIVE));
    assert_false(tg_field_is_hop(TG_FIELD_CONTENT_LENGTH));
    assert_true(tg_field_is_own(TG_FIELD_CONTENT_LENGTH));
    assert_false(tg_field_is_own(TG_FIELD_OTHER));
    assert_true(tg_field_may_trail(TG_FIELD_OTHER));
    assert_false(tg_field_may_trail(TG_FIELD_HOST));
    assert_false(tg_field_may_trail(TG_FIELD_CONTENT_LENGTH));
    assert_false(tg_field_may_trail(TG_FIELD_TRANSFER_ENCODING));
    assert_false(tg_field_may_trail(TG_FIELD_AUTHORIZATION));
    assert_false(tg_field_may_trail(TG_FIELD_SET_COOKIE));
}

static void test_adding_keeps_order_and_spelling(void **state)
{
    (void)state;
    add("HOST", "a");
    add("x-One", "1");
    add("X-one", "2");
    assert_list("HOST=a;x-One=1;X-one=2");
    assert_str(tg_fields_find(&fields, TG_STR("X-ONE"))->value, "1");
    const struct tg_field *second =
        tg_fields_next(&fields, TG_STR("x-one"), tg_fields_find(&fields, TG_STR("x-one")));
    assert_str(second->value, "2");
    assert_null(tg_fields_next(&fields, TG_STR("x-one"), second));
    assert_str(tg_fields_find_id(&fields, TG_FIELD_HOST)->value, "a");
    assert_null(tg_fields_find_id(&fields, TG_FIELD_VIA));
}

static void test_setting_replaces_at_the_first_place(void **state)
{
    (void)state;
    add("a", "1");
    add("b", "2");
    add("A", "3");
    add("c", "4");
    assert_int_equal(tg_fields_set(&fields, TG_STR("A"), TG_STR("9")), TG_OK);
    assert_list("A=9;b=2;c=4");
    assert_int_equal(tg_fields_set(&fields, TG_STR("d"), TG_STR("5")), TG_OK);
    assert_list("A=9;b=2;c=4;d=5");
}

static void test_removing(void **state)
{
    (void)state;
    add("via", "1");
    add("b", "2");
    add("Via", "3");
    assert_int_equal(tg_fields_remove(&fields, TG_STR("VIA")), 2);
    assert_list("b=2");
    assert_int_equal(tg_fields_remove(&fields, TG_STR("via")), 0);
    assert_int_equal(tg_fields_add_id(&fields, TG_FIELD_VIA, TG_STR("x")), TG_OK);
    assert_list("b=2;via=x");
    assert_int_equal(tg_fields_remove(&fields, TG_STR("via")), 1);
    assert_list("b=2");
}

static bool is_short(const struct tg_field *field, const void *arg)
{
    return field->name.n < *(const size_t *)arg;
}

static void test_filtering(void **state)
{
    size_t bound = 3;
    (void)state;
    add("aa", "1");
    add("bbb", "2");
    add("c", "3");
    add("dddd", "4");
    assert_int_equal(tg_fields_filter(&fields, is_short, &bound), 2);
    assert_list("bbb=2;dddd=4");
}

static void test_lists_in_values(void **state)
{
    (void)state;
    add("Connection", "keep-alive , ,\tUpgrade");
    add("Connection", "");
    add("connection", "x");
    assert_true(tg_fields_list_has(&fields, TG_FIELD_CONNECTION, TG_STR("upgrade")));
    assert_true(tg_fields_list_has(&fields, TG_FIELD_CONNECTION, TG_STR("KEEP-ALIVE")));
    assert_true(tg_fields_list_has(&fields, TG_FIELD_CONNECTION, TG_STR("x")));
    assert_false(tg_fields_list_has(&fields, TG_FIELD_CONNECTION, TG_STR("close")));
    assert_false(tg_fields_list_has(&fields, TG_FIELD_CONNECTION, TG_STR("keep")));
    assert_false(tg_fields_list_has(&fields, TG_FIELD_TE, TG_STR("x")));
}

static void test_a_copy_changes_alone(void **state)
{
    struct tg_fields copy;
    (void)state;
    add("a", "1");
    assert_int_equal(tg_fields_copy(&fields, &copy), TG_OK);
    assert_int_equal(tg_fields_set(&copy, TG_STR("a"), TG_STR("2")), TG_OK);
    assert_int_equal(tg_fields_add(&copy, TG_STR("b"), TG_STR("3")), TG_OK);
    assert_list("a=1");
    assert_int_equal(copy.n, 2);
}

static void test_no_memory_changes_nothing(void **state)
{
    struct tg_fields copy;
    (void)state;
    for (int i = 0; i < 16; i++)
        add("x", "1");
    arena.limit = arena.used;
    arena.at = arena.end;
    assert_int_equal(tg_fields_add(&fields, TG_STR("y"), TG_STR("2")), TG_E_NOMEM);
    assert_int_equal(tg_fields_set(&fields, TG_STR("y"), TG_STR("2")), TG_E_NOMEM);
    assert_int_equal(tg_fields_copy(&fields, &copy), TG_E_NOMEM);
    assert_int_equal(fields.n, 16);
}

/* ---- Against a model ---------------------------------------------------------------------------
 */

#define MODEL_MAX 200

static struct {
    const char *name;
    const char *value;
} model[MODEL_MAX];
static uint32_t model_n;

static void model_remove(const char *name, uint32_t from)
{
    uint32_t kept = from;
    for (uint32_t i = from; i < model_n; i++) {
        if (strcasecmp(model[i].name, name) != 0)
            model[kept++] = model[i];
    }
    model_n = kept;
}

static void model_set(const char *name, const char *value)
{
    uint32_t i = 0;
    while (i < model_n && strcasecmp(model[i].name, name) != 0)
        i++;
    model[i].name = name;
    model[i].value = value;
    if (i == model_n)
        model_n++;
    model_remove(name, i + 1);
}

static void assert_same_as_model(void)
{
    assert_int_equal(fields.n, model_n);
    for (uint32_t i = 0; i < model_n; i++) {
        assert_str(fields.v[i].name, model[i].name);
        assert_str(fields.v[i].value, model[i].value);
    }
}

static void test_random_edits_against_a_model(void **state)
{
    static const char *const names[] = {"Host", "host",   "X-A",          "x-a", "Via",
                                        "vIA",  "accept", "Content-Type", "x-b", "Date"};
    static const char *const values[] = {"", "1", "two", "drei, vier"};
    struct tg_rand r = fixture_rand();
    (void)state;
    model_n = 0;
    for (int step = 0; step < 20000; step++) {
        const char *name = names[tg_rand_below(&r, TG_COUNT_OF(names))];
        const char *value = values[tg_rand_below(&r, TG_COUNT_OF(values))];
        uint64_t what = tg_rand_below(&r, 8);
        if (what == 0) {
            tg_fields_remove(&fields, tg_str_c(name));
            model_remove(name, 0);
        } else if (what <= 2) {
            assert_int_equal(tg_fields_set(&fields, tg_str_c(name), tg_str_c(value)), TG_OK);
            model_set(name, value);
        } else if (model_n < MODEL_MAX - 1) {
            add(name, value);
            model[model_n].name = name;
            model[model_n++].value = value;
        }
        assert_same_as_model();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known_names_have_numbers, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_what_names_may_do, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_adding_keeps_order_and_spelling, setup,
                                        fixture_release),
        cmocka_unit_test_setup_teardown(test_setting_replaces_at_the_first_place, setup,
                                        fixture_release),
        cmocka_unit_test_setup_teardown(test_removing, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_filtering, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_lists_in_values, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_a_copy_changes_alone, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_no_memory_changes_nothing, setup, fixture_release),
        cmocka_unit_test_setup_teardown(test_random_edits_against_a_model, setup, fixture_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
