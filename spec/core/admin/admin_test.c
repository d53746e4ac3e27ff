/*
 * The admin listener on a loop that the test turns: readiness, questions to workers that answer
 * when the test says so, clients that go away meanwhile, transactions.
 */
#include "admin/admin.h"

#include "../net/wire.h"
#include "admin/address.h"
#include "observe/instrument.h"
#include "observe/metrics.h"

static char folder[64];
static char listen_text[128];
static struct tg_admin *admin;
static struct tg_metrics *metrics;
static struct tg_snapshot *snapshot;

/* The question that the test has not answered yet. */
static struct {
    void (*done)(void *of);
    void *of;
    int asked;
} question;

static void ask(void *arg, void (*visit)(void *of, struct tg_gate *gate), void (*done)(void *of),
                void *of)
{
    (void)arg;
    (void)visit;
    question.done = done;
    question.of = of;
    question.asked++;
}

static struct tg_snapshot *make_snapshot(const char *listen)
{
    struct tg_snapshot *made = tg_snapshot_new();
    assert_non_null(made);
    tg_limits_init(&made->settings.limits);
    made->settings.admin_listen = tg_snapshot_copy(made, tg_str_c(listen));
    made->path = TG_STR("gateway.lua");
    return made;
}

static int setup(void **state)
{
    char reason[TG_LISTEN_REASON_MAX];
    support_folder(folder);
    snprintf(listen_text, sizeof(listen_text), "unix:%s/a", folder);
    if (wire_init(state) != 0)
        return -1;
    memset(&question, 0, sizeof(question));
    metrics = tg_metrics_new(1);
    snapshot = make_snapshot(listen_text);
    struct tg_admin_options options = {
        .worker = &worker, .metrics = metrics, .workers = 2, .ask = ask};
    if (metrics == NULL || tg_admin_new(&options, &admin) != TG_OK ||
        tg_admin_prepare(admin, snapshot, reason) != TG_OK)
        return -1;
    tg_admin_commit(admin, snapshot);
    return 0;
}

static int teardown(void **state)
{
    tg_admin_free(&admin);
    tg_snapshot_unref(&snapshot);
    tg_metrics_free(&metrics);
    tg_instruments_release();
    support_remove(folder);
    bool clean = tg_mem_used(TG_MEM_CONFIG) == 0 && tg_mem_used(TG_MEM_OBSERVE) == 0;
    return clean ? wire_release(state) : -1;
}

static int connect_to(const char *text)
{
    struct tg_admin_address address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(tg_admin_address_parse(tg_str_c(text), &address), TG_OK);
    if (connect(fd, &address.u.any, address.len) == 0)
        return fd;
    close(fd);
    return -1;
}

static int send_get(const char *path)
{
    char head[128];
    int fd = connect_to(listen_text);
    assert_true(fd >= 0);
    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    wire_send(fd, head);
    return fd;
}

/* What the first `status` line of a GET says. */
static void expect_status(const char *path, const char *status)
{
    int fd = send_get(path);
    wire_expect(fd, status);
    close(fd);
    wire_rounds();
}

static void test_readiness_follows_the_state(void **state)
{
    (void)state;
    expect_status("/readyz", "HTTP/1.1 503");
    expect_status("/healthz", "HTTP/1.1 200");
    tg_admin_set_state(admin, TG_ADMIN_READY);
    expect_status("/readyz", "HTTP/1.1 200");
    tg_admin_set_state(admin, TG_ADMIN_DRAINING);
    expect_status("/readyz", "HTTP/1.1 503");
}

static void test_one_question_serves_all_who_wait(void **state)
{
    (void)state;
    int one = send_get("/plugins");
    int two = send_get("/plugins");
    wire_rounds();
    assert_int_equal(question.asked, 1);
    wire_expect_silence(one);
    wire_expect_silence(two);
    question.done(question.of);
    wire_expect(one, "HTTP/1.1 200 OK\r\n");
    wire_expect(two, "HTTP/1.1 200 OK\r\n");
    wire_send(one, "GET /plugins HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_rounds();
    assert_int_equal(question.asked, 2);
    question.done(question.of);
    close(one);
    close(two);
    wire_rounds();
}

static void test_who_waits_may_go_away(void **state)
{
    (void)state;
    int one = send_get("/plugins");
    wire_rounds();
    assert_int_equal(question.asked, 1);
    close(one);
    wire_rounds();
    question.done(question.of);
    expect_status("/healthz", "HTTP/1.1 200");
}

static void test_it_may_end_while_somebody_waits(void **state)
{
    (void)state;
    int one = send_get("/plugins");
    wire_rounds();
    assert_int_equal(question.asked, 1);
    tg_admin_free(&admin);
    wire_expect_end(one);
    close(one);
}

static void test_a_transaction_is_put_back(void **state)
{
    char reason[TG_LISTEN_REASON_MAX];
    char elsewhere[128];
    (void)state;
    snprintf(elsewhere, sizeof(elsewhere), "unix:%s/b", folder);
    struct tg_snapshot *coming = make_snapshot(elsewhere);
    assert_int_equal(tg_admin_prepare(admin, coming, reason), TG_OK);
    tg_admin_rollback(admin);
    assert_int_equal(connect_to(elsewhere), -1);
    expect_status("/healthz", "HTTP/1.1 200");
    assert_int_equal(tg_admin_prepare(admin, coming, reason), TG_OK);
    tg_admin_commit(admin, coming);
    assert_int_equal(connect_to(listen_text), -1);
    snprintf(listen_text, sizeof(listen_text), "%s", elsewhere);
    expect_status("/healthz", "HTTP/1.1 200");
    tg_snapshot_unref(&coming);
}

static void test_a_connection_too_many_is_closed(void **state)
{
    int fds[3];
    (void)state;
    snapshot->settings.limits.admin_connections = 2;
    uint64_t before = tg_limit_hits(TG_LIMIT_ID_admin_connections);
    for (int i = 0; i < 3; i++)
        fds[i] = connect_to(listen_text);
    wire_expect_end(fds[2]);
    assert_int_equal(tg_limit_hits(TG_LIMIT_ID_admin_connections), before + 1);
    close(fds[0]);
    wire_rounds();
    expect_status("/healthz", "HTTP/1.1 200");
    close(fds[1]);
    close(fds[2]);
    wire_rounds();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readiness_follows_the_state), TEST(test_one_question_serves_all_who_wait),
        TEST(test_who_waits_may_go_away),       TEST(test_it_may_end_while_somebody_waits),
        TEST(test_a_transaction_is_put_back),   TEST(test_a_connection_too_many_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
