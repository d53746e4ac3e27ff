/*
 * The admin listener's socket in the file system: its mode, whom it replaces, what it removes.
 */
#include "admin/door.h"

#include "support.h"

static char folder[64];
static char path[128];
static char text[160]; /* "unix:" and the path */
static char reason[TG_LISTEN_REASON_MAX];
static struct tg_admin_door door, other;

static int setup(void **state)
{
    (void)state;
    support_folder(folder);
    snprintf(path, sizeof(path), "%s/admin.sock", folder);
    snprintf(text, sizeof(text), "unix:%s", path);
    door = other = TG_ADMIN_DOOR_CLOSED;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_admin_door_close(&door);
    tg_admin_door_close(&other);
    support_remove(folder);
    return 0;
}

static enum tg_err open_door(struct tg_admin_door *which)
{
    return tg_admin_door_open(which, tg_str_c(text), reason);
}

static bool is_there(void)
{
    return access(path, F_OK) == 0;
}

static void test_it_is_for_its_owner_alone(void **state)
{
    struct stat st;
    (void)state;
    mode_t old = umask(0);
    assert_int_equal(open_door(&door), TG_OK);
    umask(old);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_it_goes_when_it_is_closed(void **state)
{
    (void)state;
    assert_int_equal(open_door(&door), TG_OK);
    tg_admin_door_close(&door);
    assert_false(is_there());
    assert_int_equal(door.fd, -1);
    tg_admin_door_close(&door);
}

static void test_a_stale_one_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(open_door(&other), TG_OK);
    close(other.fd); /* as when its process was killed */
    other.fd = -1;
    assert_true(is_there());
    assert_int_equal(open_door(&door), TG_OK);
}

static void test_a_live_one_stays(void **state)
{
    (void)state;
    assert_int_equal(open_door(&other), TG_OK);
    assert_int_equal(open_door(&door), TG_E_SYSTEM);
    assert_non_null(strstr(reason, "admin.sock: another process listens there"));
    assert_int_equal(door.fd, -1);
    assert_true(is_there());
}

static void test_another_file_stays(void **state)
{
    (void)state;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(open_door(&door), TG_E_SYSTEM);
    assert_non_null(strstr(reason, "not a socket"));
    assert_true(is_there());
}

static void test_what_took_its_place_stays(void **state)
{
    (void)state;
    assert_int_equal(open_door(&door), TG_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_door(&other), TG_OK);
    tg_admin_door_close(&door);
    assert_true(is_there());
}

static void test_what_is_no_address_is_refused(void **state)
{
    (void)state;
    assert_int_equal(tg_admin_door_open(&door, TG_STR("nowhere"), reason), TG_E_INVALID);
    assert_non_null(strstr(reason, "cannot listen on nowhere: an address is unix:PATH"));
    snprintf(text, sizeof(text), "unix:%s/no/folder", folder);
    assert_int_equal(open_door(&door), TG_E_SYSTEM);
    assert_non_null(strstr(reason, "the folder of that path does not exist"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_for_its_owner_alone),
        TEST(test_it_goes_when_it_is_closed),
        TEST(test_a_stale_one_is_replaced),
        TEST(test_a_live_one_stays),
        TEST(test_another_file_stays),
        TEST(test_what_took_its_place_stays),
        TEST(test_what_is_no_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
