/*
 * The text builder: what it writes, and that failure latches and never writes past the room.
 */
#include "base/fmt.h"

#include "base/mem.h"
#include "support.h"

static char room[64];
static struct tg_fmt f;

static int setup(void **state)
{
    (void)state;
    memset(room, '#', sizeof(room));
    tg_fmt_init(&f, room, sizeof(room));
    return 0;
}

static void assert_written(const char *expected)
{
    struct tg_str s = tg_fmt_str(&f);
    assert_non_null(s.p);
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static void test_pieces(void **state)
{
    (void)state;
    tg_fmt_lit(&f, "a=");
    tg_fmt_u64(&f, 0);
    tg_fmt_char(&f, ' ');
    tg_fmt_add(&f, TG_STR("two"));
    tg_fmt_add(&f, tg_str(NULL, 0));
    tg_fmt_bytes(&f, NULL, 0);
    tg_fmt_printf(&f, " %d%s", -3, "!");
    assert_written("a=0 two -3!");
}

static void test_numbers(void **state)
{
    (void)state;
    tg_fmt_u64(&f, UINT64_MAX);
    tg_fmt_char(&f, ' ');
    tg_fmt_hex(&f, 0, 1);
    tg_fmt_char(&f, ' ');
    tg_fmt_hex(&f, 0xabc, 5);
    tg_fmt_char(&f, ' ');
    tg_fmt_hex(&f, UINT64_MAX, 16);
    assert_written("18446744073709551615 0 00abc ffffffffffffffff");
}

static void test_exact_fit(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, 5);
    tg_fmt_bytes(&f, "12345", 5);
    assert_written("12345");
    assert_int_equal(room[5], '#');
    tg_fmt_char(&f, '6');
    assert_null(tg_fmt_str(&f).p);
    assert_int_equal(room[5], '#');
}

static void test_failure_latches(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, 5);
    tg_fmt_lit(&f, "123456");
    tg_fmt_lit(&f, "1");
    tg_fmt_u64(&f, 1);
    tg_fmt_printf(&f, "1");
    assert_null(tg_fmt_reserve(&f, 1));
    assert_null(tg_fmt_str(&f).p);
    assert_int_equal(tg_fmt_str(&f).n, 0);
    assert_int_equal(room[0], '#');
}

static void test_printf_needs_one_byte_more(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, 6);
    tg_fmt_printf(&f, "%s", "12345");
    assert_written("12345");
    tg_fmt_init(&f, room, 5);
    tg_fmt_printf(&f, "%s", "12345");
    assert_null(tg_fmt_str(&f).p);
    assert_int_equal(room[6], '#');
}

static void test_no_room_at_all(void **state)
{
    (void)state;
    tg_fmt_init(&f, NULL, 0);
    tg_fmt_bytes(&f, NULL, 0);
    assert_false(f.failed);
    tg_fmt_printf(&f, "x");
    assert_true(f.failed);
}

static void test_what_is_missing_is_counted(void **state)
{
    (void)state;
    tg_fmt_init(&f, room, 5);
    tg_fmt_lit(&f, "1234");
    tg_fmt_lit(&f, "567");
    tg_fmt_u64(&f, 89);
    assert_int_equal(f.n + f.missing, 9);
    tg_fmt_init(&f, room, 9);
    tg_fmt_lit(&f, "1234");
    tg_fmt_lit(&f, "567");
    tg_fmt_u64(&f, 89);
    assert_written("123456789");
    assert_int_equal(f.missing, 0);
}

static void test_reserved_bytes_are_the_callers(void **state)
{
    (void)state;
    tg_fmt_lit(&f, "ab");
    char *p = tg_fmt_reserve(&f, 3);
    memcpy(p, "cde", 3);
    f.n += 3;
    assert_written("abcde");
}

static void test_grows_in_an_arena(void **state)
{
    struct tg_slab *slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    struct tg_arena arena;
    char expected[16];
    (void)state;
    assert_non_null(slab);
    tg_arena_init(&arena, slab, 1 << 20);
    tg_fmt_init_arena(&f, &arena, 0);
    for (int i = 0; i < 10000; i++)
        tg_fmt_printf(&f, "%05d ", i);
    struct tg_str s = tg_fmt_str(&f);
    assert_int_equal(s.n, 60000);
    for (int i = 0; i < 10000; i++) {
        snprintf(expected, sizeof(expected), "%05d ", i);
        assert_memory_equal(s.p + 6 * i, expected, 6);
    }
    tg_arena_release(&arena);
    tg_slab_free(&slab);
}

static void test_arena_at_its_limit_latches(void **state)
{
    struct tg_slab *slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    struct tg_arena arena;
    (void)state;
    assert_non_null(slab);
    tg_arena_init(&arena, slab, 8192);
    tg_fmt_init_arena(&f, &arena, 16);
    for (int i = 0; i < 10000; i++)
        tg_fmt_lit(&f, "0123456789");
    assert_null(tg_fmt_str(&f).p);
    tg_arena_release(&arena);
    tg_arena_init(&arena, slab, 0);
    tg_fmt_init_arena(&f, &arena, 16);
    tg_fmt_lit(&f, "x");
    assert_null(tg_fmt_str(&f).p);
    tg_slab_free(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pieces, setup),
        cmocka_unit_test_setup(test_numbers, setup),
        cmocka_unit_test_setup(test_exact_fit, setup),
        cmocka_unit_test_setup(test_failure_latches, setup),
        cmocka_unit_test_setup(test_printf_needs_one_byte_more, setup),
        cmocka_unit_test(test_no_room_at_all),
        cmocka_unit_test_setup(test_what_is_missing_is_counted, setup),
        cmocka_unit_test_setup(test_reserved_bytes_are_the_callers, setup),
        cmocka_unit_test(test_grows_in_an_arena),
        cmocka_unit_test(test_arena_at_its_limit_latches),
    };

    return cmocka_run_group_tests_name("fmt", tests, NULL, NULL);
}
