/*
 * The life of an input buffer: leased when bytes come, lent to a request, taken back, gone when
 * nothing is left.
 */
#include "http/inbuf.h"

#include "http_fixture.h"

static struct tg_inbuf in;

static int setup(void **state)
{
    in = (struct tg_inbuf){0};
    return fixture_init(state);
}

static void feed(const char *text)
{
    size_t n = strlen(text);
    assert_true(in.cap - in.end >= n);
    memcpy(in.mem + in.end, text, n);
    in.end += (uint32_t)n;
}

static void assert_left(const char *text)
{
    assert_str(tg_str(tg_inbuf_at(&in), tg_inbuf_left(&in)), text);
}

static void test_memory_comes_with_the_first_byte_and_goes_with_the_last(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 100), TG_OK);
    assert_int_equal(in.cap, 128);
    feed("abcdef");
    tg_inbuf_consume(&in, slab, 2);
    assert_left("cdef");
    assert_int_equal(tg_slab_leased(slab), 128);
    tg_inbuf_consume(&in, slab, 4);
    assert_null(in.mem);
    assert_int_equal(tg_slab_leased(slab), 0);
}

static void test_a_full_buffer_wants_to_grow(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    in.end = 60;
    tg_inbuf_consume(&in, slab, 60);
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    memset(in.mem, 'x', 64);
    in.end = 64;
    in.pos = 60;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_E_LIMIT);
    assert_int_equal(tg_inbuf_grow(&in, slab), TG_OK);
    assert_int_equal(in.cap, 128);
    assert_left("xxxx");
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    tg_inbuf_release(&in, slab);
}

static void test_growth_has_an_end(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, TG_SLAB_MAX), TG_OK);
    in.end = in.cap;
    assert_int_equal(tg_inbuf_grow(&in, slab), TG_E_LIMIT);
    tg_inbuf_release(&in, slab);
}

static void test_a_lent_buffer_belongs_to_the_arena(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    feed("headrest");
    const char *head = tg_inbuf_at(&in);
    in.pos += 4;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_OK);
    assert_left("rest");
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_E_LIMIT);
    tg_inbuf_consume(&in, slab, 4);
    assert_null(in.mem);
    assert_memory_equal(head, "head", 4); /* lives on */
}

static void test_lending_all_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    feed("head");
    in.pos += 4;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_OK);
    assert_null(in.mem);
    assert_int_equal(tg_inbuf_reclaim(&in, slab), TG_OK);
}

static void test_what_is_left_is_taken_back_before_the_arena_goes(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    feed("headrest");
    in.pos += 4;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_OK);
    assert_int_equal(tg_inbuf_reclaim(&in, slab), TG_OK);
    assert_false(in.borrowed);
    tg_arena_release(&arena);
    assert_left("rest");
    assert_int_equal(tg_inbuf_reclaim(&in, slab), TG_OK); /* its own already */
    assert_left("rest");
    tg_inbuf_release(&in, slab);
}

/* All that was lent has been handed over, but by position only. */
static void test_taking_back_nothing_gives_an_empty_buffer(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    feed("headrest");
    in.pos += 4;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_OK);
    in.pos += 4;
    assert_int_equal(tg_inbuf_reclaim(&in, slab), TG_OK);
    assert_null(in.mem);
    assert_false(in.borrowed);
}

static void test_a_lent_buffer_grows_into_its_own(void **state)
{
    (void)state;
    assert_int_equal(tg_inbuf_reserve(&in, slab, 64), TG_OK);
    feed("headrest");
    in.pos += 4;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_OK);
    assert_int_equal(tg_inbuf_grow(&in, slab), TG_OK);
    assert_false(in.borrowed);
    assert_int_equal(in.cap, 128);
    assert_left("rest");
    tg_inbuf_release(&in, slab);
}

static void test_no_memory_leaves_it_as_it_is(void **state)
{
    (void)state;
    tg_mem_fail_at(1);
    assert_int_equal(tg_inbuf_reserve(&in, slab, 65536), TG_E_NOMEM);
    assert_null(in.mem);
    assert_int_equal(tg_inbuf_reserve(&in, slab, 65536), TG_OK);
    feed("headrest");
    tg_mem_fail_at(1);
    assert_int_equal(tg_inbuf_grow(&in, slab), TG_E_NOMEM);
    assert_left("headrest");
    in.pos += 4;
    arena.limit = 0;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_E_NOMEM);
    assert_false(in.borrowed);
    assert_left("rest");
    arena.limit = ARENA_LIMIT;
    assert_int_equal(tg_inbuf_lend(&in, &arena), TG_OK);
    tg_mem_fail_at(1);
    assert_int_equal(tg_inbuf_reclaim(&in, slab), TG_E_NOMEM);
    assert_true(in.borrowed);
    tg_mem_fail_at(0);
    tg_inbuf_release(&in, slab);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_memory_comes_with_the_first_byte_and_goes_with_the_last),
        TEST(test_a_full_buffer_wants_to_grow),
        TEST(test_growth_has_an_end),
        TEST(test_a_lent_buffer_belongs_to_the_arena),
        TEST(test_lending_all_leaves_nothing),
        TEST(test_what_is_left_is_taken_back_before_the_arena_goes),
        TEST(test_taking_back_nothing_gives_an_empty_buffer),
        TEST(test_a_lent_buffer_grows_into_its_own),
        TEST(test_no_memory_leaves_it_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
