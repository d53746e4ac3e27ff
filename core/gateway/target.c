/* target.c: see target.h. */
#include "base/banned.h"
#include "gateway/target.h"

#include "observe/metrics.h"

/* ---- Balancers ---------------------------------------------------------------------------------
 */

/* The balancer of a service, from its targets. */
static struct tg_balance *make_balance(struct tg_gate *gate, const struct tg_snapshot *snapshot,
                                       const struct tg_service_conf *service)
{
    struct tg_balance_options options = {
        .registry = gate->gateway->registry,
        .service = service->name,
        .policy = &service->policy,
        .place = snapshot->settings.place,
        .now = tg_loop_now(&gate->worker->loop),
    };
    return tg_balance_new(&options, service->targets, service->target_count);
}

enum tg_err tg_targets_new(struct tg_gate *gate, const struct tg_snapshot *snapshot,
                           struct tg_targets **out)
{
    uint32_t n = snapshot->service_count;
    struct tg_targets *targets =
        tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*targets) + n * sizeof(targets->balances[0]));
    if (targets == NULL)
        return TG_E_NOMEM;
    targets->refs = 1;
    targets->n = n;
    targets->loop = &gate->worker->loop;
    for (uint32_t i = 0; i < n; i++) {
        if (snapshot->services[i].target_count == 0)
            continue;
        targets->balances[i] = make_balance(gate, snapshot, &snapshot->services[i]);
        if (targets->balances[i] == NULL) {
            tg_targets_unref(&targets);
            return TG_E_NOMEM;
        }
    }
    *out = targets;
    return TG_OK;
}

void tg_targets_keep_warm(struct tg_targets *targets, const struct tg_snapshot *snapshot,
                          struct tg_pool *pool)
{
    tg_pool_forget_warm(pool);
    for (uint32_t i = 0; i < targets->n; i++) {
        const struct tg_service_conf *service = &snapshot->services[i];
        if (service->policy.pool.min_idle == 0 || service->proxy_protocol != 0)
            continue;
        for (uint32_t t = 0; t < service->target_count; t++) {
            struct tg_pool_target target = {
                .addr = &service->targets[t].addr,
                .connect_timeout = service->connect_timeout,
                .tls = service->tls,
                .http = service->policy.http,
                .conf = &service->policy.pool,
                .origin = tg_balance_origin(targets->balances[i], t),
            };
            tg_pool_keep_warm(pool, &target);
        }
    }
}

struct tg_targets *tg_targets_ref(struct tg_targets *targets)
{
    targets->refs++;
    return targets;
}

void tg_targets_unref(struct tg_targets **targets)
{
    struct tg_targets *taken = *targets;
    *targets = NULL;
    if (taken == NULL || --taken->refs > 0)
        return;
    for (uint32_t i = 0; i < taken->n; i++)
        tg_balance_free(&taken->balances[i], tg_loop_now(taken->loop));
    tg_mem_free(TG_MEM_CONFIG, taken);
}

/* ---- Targets -----------------------------------------------------------------------------------
 */

const struct tg_addr *tg_target_addr(const struct tg_service_conf *service, uint32_t index)
{
    static const struct tg_addr echo;
    return service->builtin_echo ? &echo : &service->targets[index].addr;
}

struct tg_str tg_target_name(const struct tg_service_conf *service, uint32_t index)
{
    if (service->target_count == 0)
        return TG_STR("localhost");
    return service->targets[index].name;
}

bool tg_target_was_stale(const struct tg_call *call, enum tg_err err)
{
    return call->reused && !call->got_bytes && err != TG_E_TIMEOUT;
}

void tg_target_count_failure(struct tg_gate *gate, enum tg_err err, bool connecting)
{
    bool tls = err == TG_E_TLS || err == TG_E_UNTRUSTED;
    enum tg_metric_id id = tls                    ? TG_METRIC_UPSTREAM_FAILED_TLS
                           : connecting           ? TG_METRIC_UPSTREAM_FAILED_CONNECT
                           : err == TG_E_TIMEOUT  ? TG_METRIC_UPSTREAM_FAILED_TIMEOUT
                           : err == TG_E_PROTOCOL ? TG_METRIC_UPSTREAM_FAILED_PROTOCOL
                                                  : TG_METRIC_UPSTREAM_FAILED_CLOSED;
    tg_metric_inc(gate->worker->cells, id);
}

void tg_target_dress(const struct tg_service_conf *service, const struct tg_addr *client,
                     const struct tg_addr *local, struct tg_pool_target *target,
                     char room[TG_PROXY_HEADER_MAX])
{
    static const struct tg_addr nobody;
    int version = service->proxy_protocol;
    target->tls = service->tls;
    target->http = service->policy.http;
    if (version == 0)
        return;
    bool told = client != NULL && local != NULL;
    size_t n =
        tg_proxy_header_write(room, version, told ? client : &nobody, told ? local : &nobody);
    target->preface = tg_str(room, n);
}
