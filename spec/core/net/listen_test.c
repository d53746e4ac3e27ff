/*
 * Listening sockets: opening, the words of a failure, and transactions. All on loopback, on ports
 * that the kernel chooses.
 */
#include "net/listen.h"

#include "base/mem.h"

#include "support.h"

#include <netinet/tcp.h>

#define ANY "127.0.0.1:0"

static struct tg_listen_set set;
static char reason[TG_LISTEN_REASON_MAX];

static int setup(void **state)
{
    (void)state;
    tg_listen_set_init(&set);
    reason[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_listen_set_release(&set);
    return tg_mem_used(TG_MEM_OTHER) == 0 ? 0 : -1;
}

static enum tg_err open_on(struct tg_listen_set *on, const char *key, const char *text, uint32_t n)
{
    struct tg_addr addr;
    assert_int_equal(tg_addr_parse(tg_str_c(text), &addr), TG_OK);
    return tg_listen_set_open(on, tg_str_c(key), &addr, n, reason);
}

static struct tg_listen *opened(const char *key, uint32_t n)
{
    assert_int_equal(open_on(&set, key, ANY, n), TG_OK);
    return tg_listen_set_find(&set, tg_str_c(key));
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

/* Connects to `addr` with a blocking socket: the descriptor, or -1 when refused. */
static int dial(const struct tg_addr *addr)
{
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM, 0);
    if (connect(fd, &addr->u.any, addr->len) == 0)
        return fd;
    close(fd);
    return -1;
}

static void test_sockets_share_one_port(void **state)
{
    struct tg_listen *listen = opened("a", 3);

    (void)state;
    assert_int_equal(listen->count, 3);
    assert_int_not_equal(tg_addr_port(&listen->addr), 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct sockaddr_in name;
        socklen_t len = sizeof(name);
        assert_int_equal(getsockname(listen->fds[i], (struct sockaddr *)&name, &len), 0);
        assert_int_equal(ntohs(name.sin_port), tg_addr_port(&listen->addr));
        assert_int_equal(option(listen->fds[i], SOL_SOCKET, SO_ACCEPTCONN), 1);
        assert_int_equal(option(listen->fds[i], SOL_SOCKET, SO_REUSEPORT), 1);
        assert_int_equal(option(listen->fds[i], IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(fcntl(listen->fds[i], F_GETFD), FD_CLOEXEC);
        assert_true(fcntl(listen->fds[i], F_GETFL) & O_NONBLOCK);
    }
}

static void test_a_connection_waits_until_somebody_serves_it(void **state)
{
    struct tg_listen *listen = opened("a", 1);
    int client = dial(&listen->addr);
    int served = accept(listen->fds[0], NULL, NULL);

    (void)state;
    assert_true(client >= 0 && served >= 0);
    assert_int_equal(option(served, IPPROTO_TCP, TCP_NODELAY), 1); /* as tg_conn_open() wants it */
    close(client);
    close(served);
}

static void test_an_address_in_use_is_refused_in_words(void **state)
{
    struct tg_listen *listen = opened("a", 1);
    struct tg_listen_set other;
    char room[TG_ADDR_TEXT_MAX];
    char expected[TG_LISTEN_REASON_MAX];
    const char *text = tg_addr_text(&listen->addr, room).p;

    (void)state;
    tg_listen_set_init(&other);
    assert_int_equal(open_on(&other, text, text, 2), TG_E_SYSTEM);
    snprintf(expected, sizeof(expected),
             "cannot listen on %s: address in use (another process listens there; `ss -ltnp` names "
             "it)",
             text);
    assert_string_equal(reason, expected);
    assert_int_equal(other.count, 0);
    tg_listen_set_release(&other);
}

/* 240.0.0.0/4 is reserved (RFC 1112, 4): no machine has it. */
static void test_an_address_of_another_machine_is_refused_in_words(void **state)
{
    (void)state;
    assert_int_equal(open_on(&set, "240.0.0.1:0", "240.0.0.1:0", 1), TG_E_SYSTEM);
    assert_non_null(
        strstr(reason, "cannot listen on 240.0.0.1:0: no such address on this machine"));
    assert_int_equal(set.count, 0);
}

static void test_ipv6_leaves_ipv4_alone(void **state)
{
    struct tg_listen *v6;

    (void)state;
    if (open_on(&set, "six", "[::]:0", 1) != TG_OK)
        skip(); /* a machine without IPv6 */
    v6 = tg_listen_set_find(&set, TG_STR("six"));
    assert_int_equal(option(v6->fds[0], IPPROTO_IPV6, IPV6_V6ONLY), 1);
}

static void test_opening_again_changes_nothing(void **state)
{
    struct tg_listen *listen = opened("a", 2);
    int first = listen->fds[0];

    (void)state;
    tg_listen_set_commit(&set);
    assert_ptr_equal(opened("a", 2), listen);
    assert_int_equal(listen->count, 2);
    assert_int_equal(listen->fds[0], first);
}

static void test_commit_closes_what_was_not_named(void **state)
{
    int gone = opened("gone", 1)->fds[0];
    int kept = opened("kept", 1)->fds[0];

    (void)state;
    tg_listen_set_commit(&set);
    assert_int_equal(tg_listen_set_want(&set, TG_STR("kept")), TG_OK);
    tg_listen_set_commit(&set);
    assert_false(is_open(gone));
    assert_true(is_open(kept));
    assert_null(tg_listen_set_find(&set, TG_STR("gone")));
    assert_int_equal(set.count, 1);
}

static void test_rollback_closes_what_was_added(void **state)
{
    int old = opened("old", 1)->fds[0];
    int added;

    (void)state;
    tg_listen_set_commit(&set);
    added = opened("new", 1)->fds[0];
    tg_listen_set_rollback(&set);
    assert_true(is_open(old));
    assert_false(is_open(added));
    /* what was named in the transaction is forgotten with it */
    assert_int_equal(tg_listen_set_want(&set, TG_STR("old")), TG_OK);
    tg_listen_set_rollback(&set);
    tg_listen_set_commit(&set);
    assert_int_equal(set.count, 0);
}

static void test_what_is_wrong_with_a_path_is_told_in_words(void **state)
{
    struct tg_addr none = {.len = 0};
    (void)state;
    assert_int_equal(tg_listen_set_open(&set, TG_STR("unix:/no/such/folder/s"), &none, 1, reason),
                     TG_E_SYSTEM);
    assert_string_equal(reason, "cannot listen on unix:/no/such/folder/s: the folder of that path "
                                "does not exist");
    assert_int_equal(tg_listen_set_open(&set, TG_STR("unix:/dev/null"), &none, 1, reason),
                     TG_E_SYSTEM);
    assert_non_null(strstr(reason, "there is a file of that name which is not a socket"));
    assert_int_equal(set.count, 0);
}

static void test_a_forked_set_leaves_files_to_its_parent(void **state)
{
    char folder[64];
    char key[TG_LISTEN_KEY_MAX];
    const char *path = key + sizeof("unix:") - 1;
    struct tg_addr none = {.len = 0};
    (void)state;
    support_folder(folder);
    snprintf(key, sizeof(key), "unix:%s/s", folder);
    assert_int_equal(tg_listen_set_open(&set, tg_str_c(key), &none, 2, reason), TG_OK);
    tg_listen_set_release(&set);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(tg_listen_set_open(&set, tg_str_c(key), &none, 2, reason), TG_OK);
    tg_listen_set_disown_files(&set);
    tg_listen_set_release(&set);
    assert_int_equal(access(path, F_OK), 0);
    support_remove(folder);
}

static void test_wanting_what_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(tg_listen_set_want(&set, TG_STR("none")), TG_E_NOT_FOUND);
}

static void test_adopted_sockets_belong_to_the_set(void **state)
{
    struct tg_listen *listen = opened("a", 1);
    int fd = dup(listen->fds[0]);
    int second = dup(fd);
    int third = dup(fd);

    (void)state;
    assert_int_equal(tg_listen_set_adopt(&set, TG_STR("b"), &fd, 1), TG_OK);
    assert_true(tg_addr_eq(&tg_listen_set_find(&set, TG_STR("b"))->addr, &listen->addr));
    /* replaced as long as it is not committed, refused afterwards */
    assert_int_equal(tg_listen_set_adopt(&set, TG_STR("b"), &second, 1), TG_OK);
    assert_false(is_open(fd));
    assert_int_equal(tg_listen_set_want(&set, TG_STR("b")), TG_OK);
    tg_listen_set_commit(&set);
    assert_int_equal(tg_listen_set_adopt(&set, TG_STR("b"), &third, 1), TG_E_EXISTS);
    assert_false(is_open(third));
    assert_true(is_open(second));
    tg_listen_set_release(&set);
    assert_false(is_open(second));
}

static void test_no_allocation_failure_leaves_a_trace(void **state)
{
    enum tg_err err = TG_E_NOMEM;

    (void)state;
    for (uint64_t n = 1; err != TG_OK; n++) {
        tg_mem_fail_at(n);
        err = open_on(&set, "a", ANY, 1);
        tg_mem_fail_at(0);
        if (err != TG_OK) {
            assert_int_equal(err, TG_E_NOMEM);
            assert_int_equal(set.count, 0);
        }
    }
    assert_int_equal(set.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sockets_share_one_port),
        TEST(test_a_connection_waits_until_somebody_serves_it),
        TEST(test_an_address_in_use_is_refused_in_words),
        TEST(test_an_address_of_another_machine_is_refused_in_words),
        TEST(test_ipv6_leaves_ipv4_alone),
        TEST(test_opening_again_changes_nothing),
        TEST(test_commit_closes_what_was_not_named),
        TEST(test_rollback_closes_what_was_added),
        TEST(test_what_is_wrong_with_a_path_is_told_in_words),
        TEST(test_a_forked_set_leaves_files_to_its_parent),
        TEST(test_wanting_what_is_not_there),
        TEST(test_adopted_sockets_belong_to_the_set),
        TEST(test_no_allocation_failure_leaves_a_trace),
    };

    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
