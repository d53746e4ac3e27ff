/* target.c: see target.h. */
#include "base/banned.h"
#include "gateway/target.h"

#include "gateway/vm_set.h"
#include "observe/log.h"
#include "observe/metrics.h"

/* ---- Balancers ---------------------------------------------------------------------------------
 */

static struct tg_balance_options options_for(struct tg_gate *gate,
                                             const struct tg_snapshot *snapshot,
                                             const struct tg_service_conf *service)
{
    return (struct tg_balance_options){
        .registry = gate->gateway->registry,
        .service = service->name,
        .policy = &service->policy,
        .place = snapshot->settings.place,
        .now = tg_loop_now(&gate->worker->loop),
    };
}

static void follow(void *arg, struct tg_roster *roster);

/* The balancer of a service, from its targets, and where they are names their roster. */
static enum tg_err make_balance(struct tg_targets *targets, uint32_t index)
{
    struct tg_gate *gate = targets->gate;
    const struct tg_service_conf *service = &targets->snapshot->services[index];
    struct tg_balance_options options = options_for(gate, targets->snapshot, service);
    if (!tg_roster_is_needed(service->targets, service->target_count)) {
        targets->balances[index] =
            tg_balance_new(&options, service->targets, service->target_count);
        return targets->balances[index] != NULL ? TG_OK : TG_E_NOMEM;
    }
    struct tg_roster_options of_names = {
        .balance = options,
        .declared = service->targets,
        .n = service->target_count,
        .worker = gate->worker,
        .resolver = gate->resolver,
        .on_change = follow,
        .arg = targets,
    };
    targets->rosters[index] = tg_roster_new(&of_names);
    if (targets->rosters[index] == NULL)
        return TG_E_NOMEM;
    targets->balances[index] = tg_balance_ref(tg_roster_balance(targets->rosters[index]));
    return TG_OK;
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
    targets->gate = gate;
    targets->snapshot = snapshot;
    targets->rosters = tg_mem_zalloc(TG_MEM_CONFIG, TG_MAX(n, 1u), sizeof(targets->rosters[0]));
    enum tg_err err = targets->rosters != NULL ? TG_OK : TG_E_NOMEM;
    for (uint32_t i = 0; i < n && err == TG_OK; i++) {
        if (snapshot->services[i].target_count > 0)
            err = make_balance(targets, i);
    }
    if (err != TG_OK)
        tg_targets_unref(&targets);
    *out = targets;
    return err;
}

void tg_dns_follow(struct tg_dns *dns, struct tg_resolver *resolver,
                   const struct tg_settings *settings)
{
    struct tg_dns_conf conf = settings->dns;
    conf.timeout = settings->limits.dns_timeout;
    conf.tries = (uint32_t)settings->limits.dns_tries;
    tg_resolver_set_limits(resolver, &settings->limits);
    if (dns != NULL && tg_dns_configure(dns, &conf) != TG_OK)
        tg_log(TG_LOG_ERROR, "dns", "no memory for another set of DNS servers: the old one stays");
}

void tg_targets_begin(struct tg_targets *targets)
{
    struct tg_gate *gate = targets->gate;
    bool followed = false;
    for (uint32_t i = 0; i < targets->n; i++) {
        if (targets->rosters[i] == NULL)
            continue;
        if (!followed)
            tg_dns_follow(gate->dns, gate->resolver, &targets->snapshot->settings);
        followed = true;
        tg_roster_begin(targets->rosters[i]);
    }
}

enum tg_err tg_targets_state(const struct tg_targets *targets, uint32_t service)
{
    const struct tg_roster *roster = targets->rosters[service];
    return roster != NULL ? tg_roster_state(roster) : TG_OK;
}

static void keep_warm(const struct tg_service_conf *service, struct tg_balance *balance,
                      struct tg_pool *pool)
{
    char room[TG_PROXY_HEADER_MAX];
    if (service->policy.pool.min_idle == 0 || service->proxy_protocol != 0)
        return;
    for (uint32_t i = 0; i < tg_balance_count(balance); i++) {
        struct tg_pool_target target = {
            .connect_timeout = service->connect_timeout,
            .conf = &service->policy.pool,
            .origin = tg_balance_origin(balance, i),
        };
        tg_target_dress(service, balance, tg_target_at(balance, i), NULL, NULL, &target, room);
        tg_pool_keep_warm(pool, &target);
    }
}

void tg_targets_keep_warm(struct tg_targets *targets, const struct tg_snapshot *snapshot,
                          struct tg_pool *pool)
{
    tg_pool_forget_warm(pool);
    for (uint32_t i = 0; i < targets->n; i++) {
        if (targets->balances[i] != NULL)
            keep_warm(&snapshot->services[i], targets->balances[i], pool);
    }
}

/* A service has other targets: requests to come choose among them. */
static void follow(void *arg, struct tg_roster *roster)
{
    struct tg_targets *targets = arg;
    struct tg_gate *gate = targets->gate;
    struct tg_balance *old = NULL;
    for (uint32_t i = 0; i < targets->n; i++) {
        if (targets->rosters[i] != roster)
            continue;
        old = targets->balances[i];
        targets->balances[i] = tg_balance_ref(tg_roster_balance(roster));
    }
    if (gate->vms != NULL && gate->vms->targets == targets)
        tg_targets_keep_warm(targets, targets->snapshot, gate->pool);
    tg_balance_unref(&old, tg_loop_now(&gate->worker->loop));
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
    for (uint32_t i = 0; i < taken->n; i++) {
        tg_balance_unref(&taken->balances[i], tg_loop_now(&taken->gate->worker->loop));
        if (taken->rosters != NULL)
            tg_roster_free(&taken->rosters[i]);
    }
    tg_mem_free(TG_MEM_CONFIG, taken->rosters);
    tg_mem_free(TG_MEM_CONFIG, taken);
}

/* ---- Targets -----------------------------------------------------------------------------------
 */

const struct tg_balance_target *tg_target_at(const struct tg_balance *balance, uint32_t index)
{
    static const struct tg_balance_target echo = {.name = {"localhost", 9},
                                                  .host = {"localhost", 9}};
    return balance != NULL ? tg_balance_target_at(balance, index) : &echo;
}

bool tg_target_was_stale(const struct tg_call *call, enum tg_err err)
{
    return call->reused && !call->got_bytes && err != TG_E_TIMEOUT;
}

void tg_target_count_failure(struct tg_gate *gate, enum tg_err err, bool connecting)
{
    bool dns = err == TG_E_DNS;
    bool tls = err == TG_E_TLS || err == TG_E_UNTRUSTED;
    enum tg_metric_id id = dns                    ? TG_METRIC_UPSTREAM_FAILED_DNS
                           : tls                  ? TG_METRIC_UPSTREAM_FAILED_TLS
                           : connecting           ? TG_METRIC_UPSTREAM_FAILED_CONNECT
                           : err == TG_E_TIMEOUT  ? TG_METRIC_UPSTREAM_FAILED_TIMEOUT
                           : err == TG_E_PROTOCOL ? TG_METRIC_UPSTREAM_FAILED_PROTOCOL
                                                  : TG_METRIC_UPSTREAM_FAILED_CLOSED;
    tg_metric_inc(gate->worker->cells, id);
}

void tg_target_dress(const struct tg_service_conf *service, const struct tg_balance *balance,
                     const struct tg_balance_target *at, const struct tg_addr *client,
                     const struct tg_addr *local, struct tg_pool_target *target,
                     char room[TG_PROXY_HEADER_MAX])
{
    static const struct tg_addr nobody;
    int version = service->proxy_protocol;
    target->addr = &at->addr;
    target->another = at->another.len > 0 ? &at->another : NULL;
    target->passing = balance != NULL && tg_balance_is_passing(balance);
    target->tls = service->tls;
    target->tls_name = at->domain;
    target->http = service->policy.http;
    if (version == 0)
        return;
    bool told = client != NULL && local != NULL;
    size_t n =
        tg_proxy_header_write(room, version, told ? client : &nobody, told ? local : &nobody);
    target->preface = tg_str(room, n);
}
