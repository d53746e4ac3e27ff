/*
 * What the pool itself costs: leasing a connection that is idle and returning it, without the
 * exchange in between, which is marked as done by hand; and the memory of 100 idle connections.
 * Prints `bench <name> <value> <unit>` lines: CPU time of this thread, the least of five rounds.
 */
#include "base/banned.h"
#include "upstream/pool.h"

#include "base/assert.h"
#include "http/h1_client.h"
#include "observe/metrics.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE   100u
#define ROUNDS 5
#define LEASES UINT64_C(1000000)

static int far_ends[IDLE];
static unsigned far_count;

static enum tg_err dial(void *arg, struct tg_h1_client *client, const struct tg_addr *addr,
                        uint64_t timeout, const struct tg_call_events *events, void *owner)
{
    int fds[2];
    (void)addr;
    (void)timeout;
    tg_assert(far_count < IDLE);
    tg_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    far_ends[far_count++] = fds[1];
    return tg_h1_client_open_fd(client, arg, fds[0], events, owner);
}

static void on_any(struct tg_call *call, enum tg_err err, const char *reason)
{
    (void)call;
    (void)err;
    (void)reason;
}

static const struct tg_call_events events = {.on_failed = on_any};

/* The exchange, in no time. */
static void exchange(struct tg_call *call)
{
    struct tg_h1_client *client = TG_CONTAINER_OF(call, struct tg_h1_client, call);
    client->state = TG_H1_CLIENT_BUSY;
    client->requests++;
    client->in_done = client->out_done = client->keep_alive = true;
}

static double measure(struct tg_pool *pool, const struct tg_pool_target *target)
{
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (uint64_t i = 0; i < LEASES; i++) {
            struct tg_call *call;
            bool connected;
            tg_assert(tg_pool_lease(pool, target, &events, NULL, &call, &connected) == TG_OK);
            tg_assert(connected);
            exchange(call);
            tg_pool_return(pool, &call, target->conf);
        }
        double ns = (double)(tg_clock_thread_cpu() - start) * 1e3 / (double)LEASES;
        least = TG_MIN(least, ns);
    }
    return least;
}

int main(void)
{
    static const struct tg_pool_conf conf = {
        .max_idle = IDLE, .min_idle = IDLE, .idle_timeout = 60 * TG_USEC_PER_SEC};
    struct tg_worker worker;
    struct tg_addr addr;
    struct tg_metrics *metrics = tg_metrics_new(1);
    tg_assert(metrics != NULL);
    tg_assert(tg_worker_init(&worker, 0, tg_metrics_cells(metrics, 0)) == TG_OK);
    tg_assert(tg_addr_parse(TG_STR("10.0.0.1:80"), &addr) == TG_OK);
    struct tg_pool *pool = tg_pool_new(&worker);
    tg_assert(pool != NULL);
    struct tg_pool_dialer dialer = {dial, &worker};
    tg_pool_set_dialer(pool, &dialer);
    struct tg_pool_target target = {.addr = &addr,
                                    .connect_timeout = TG_USEC_PER_SEC,
                                    .conf = &conf,
                                    .request = TG_STR("0123456789abcdef0123456789abcdef"),
                                    .route = TG_STR("orders")};
    size_t before = tg_mem_used(TG_MEM_CONNECTION);
    tg_pool_keep_warm(pool, &target);
    tg_loop_run_deferred(&worker.loop);
    tg_assert(tg_pool_idle(pool) == IDLE);
    printf("bench pool.bytes.100 %zu bytes\n", tg_mem_used(TG_MEM_CONNECTION) - before);
    double ns = measure(pool, &target);
    printf("bench pool.lease_ns %.1f ns\n", ns);
    printf("bench pool.leases_per_s %.0f leases/s\n", 1e9 / ns);
    tg_pool_free(&pool);
    tg_loop_run_deferred(&worker.loop);
    for (unsigned i = 0; i < far_count; i++)
        close(far_ends[i]);
    tg_worker_release(&worker);
    tg_metrics_free(&metrics);
    return 0;
}
