/* target.c: see target.h. */
#include "base/banned.h"
#include "gateway/target.h"

#include "observe/metrics.h"

uint32_t tg_target_pick(struct tg_gate *gate, const struct tg_service_conf *service)
{
    uint32_t total = 0;
    if (service->target_count < 2)
        return 0;
    for (uint32_t i = 0; i < service->target_count; i++)
        total += service->targets[i].weight;
    /* Requests that began before a reload look services up in their own snapshot: the turn counts
     * are those of the one in force, and may be of another service; any turn will do. */
    uint32_t slot = service->index < gate->snapshot->service_count ? service->index : 0;
    uint32_t at = gate->turns[slot]++ % total;
    for (uint32_t i = 0; i < service->target_count; i++) {
        if (at < service->targets[i].weight)
            return i;
        at -= service->targets[i].weight;
    }
    return 0;
}

struct tg_addr tg_target_addr(const struct tg_service_conf *service, uint32_t index)
{
    if (service->builtin_echo)
        return (struct tg_addr){0};
    return service->targets[index % service->target_count].addr;
}

struct tg_str tg_target_name(const struct tg_service_conf *service, uint32_t index)
{
    if (service->target_count == 0)
        return TG_STR("localhost");
    return service->targets[index % service->target_count].name;
}

bool tg_target_was_stale(const struct tg_h1_client *client, enum tg_err err)
{
    return client->requests > 1 && !client->got_bytes && err != TG_E_TIMEOUT;
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
    if (version == 0)
        return;
    bool told = client != NULL && local != NULL;
    size_t n =
        tg_proxy_header_write(room, version, told ? client : &nobody, told ? local : &nobody);
    target->preface = tg_str(room, n);
}
