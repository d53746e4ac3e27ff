/*
 * The table of embedded Lua files: sorted, terminated, and found by name. What the files say is not
 * looked at here; that their bytes are those on disk is.
 */
#include "base/embed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_names_are_sorted_and_unique(void **state)
{
    const struct tg_embed *file = tg_embed_table;

    (void)state;
    for (; file->name && file[1].name; file++)
        assert_true(strcmp(file[0].name, file[1].name) < 0);
}

static void test_every_file_is_found_by_its_name(void **state)
{
    const struct tg_embed *file;

    (void)state;
    for (file = tg_embed_table; file->name; file++)
        assert_ptr_equal(tg_embed_find(file->name), file);
}

static void test_other_names_are_not_found(void **state)
{
    (void)state;
    assert_null(tg_embed_find(""));
    assert_null(tg_embed_find("lua"));
    assert_null(tg_embed_find("lua/tidegate/init.lua/"));
}

/* Unit tests run from the top of the repository, where the embedded names are paths. */
static void test_bytes_are_those_on_disk(void **state)
{
    const struct tg_embed *file;

    (void)state;
    for (file = tg_embed_table; file->name; file++) {
        FILE *disk = fopen(file->name, "rb");
        size_t i;

        assert_non_null(disk);
        for (i = 0; i < file->size; i++)
            assert_int_equal(fgetc(disk), (unsigned char)file->data[i]);
        assert_int_equal(fgetc(disk), EOF);
        fclose(disk);
        assert_int_equal(file->data[file->size], '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_sorted_and_unique),
        cmocka_unit_test(test_every_file_is_found_by_its_name),
        cmocka_unit_test(test_other_names_are_not_found),
        cmocka_unit_test(test_bytes_are_those_on_disk),
    };

    return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
