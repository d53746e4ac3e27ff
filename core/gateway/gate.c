/* gate.c: see gate.h. */
#include "base/banned.h"
#include "gateway/gate.h"

#include "base/assert.h"
#include "gateway/background.h"
#include "gateway/client.h"
#include "net/tls_shared.h"
#include "gateway/mirror.h"
#include "gateway/target.h"
#include "gateway/vm_set.h"
#include "gateway/ws.h"

enum tg_err tg_gateway_init(struct tg_gateway *gateway)
{
    gateway->connections = 0;
    gateway->overload = (struct tg_overload_shared){0};
    gateway->dev = false;
    gateway->addresses = NULL;
    gateway->handshakes = 0;
    gateway->tls = tg_tls_shared_new();
    gateway->addresses_watch.map = NULL;
    gateway->zones = tg_zones_new();
    gateway->bus = tg_bus_new();
    gateway->registry = tg_registry_new();
    enum tg_err err = TG_E_NOMEM;
    if (gateway->zones != NULL && gateway->bus != NULL && gateway->tls != NULL &&
        gateway->registry != NULL)
        err = tg_client_addresses_new(&gateway->addresses);
    if (err == TG_OK)
        tg_map_watch_add(&gateway->addresses_watch, TG_STR("client_addresses"), gateway->addresses);
    else
        tg_gateway_release(gateway);
    return err;
}

void tg_gateway_release(struct tg_gateway *gateway)
{
    tg_map_watch_remove(&gateway->addresses_watch);
    tg_client_addresses_free(&gateway->addresses);
    tg_tls_shared_free(&gateway->tls);
    tg_zones_free(&gateway->zones);
    tg_bus_free(&gateway->bus);
    tg_registry_unref(&gateway->registry);
}

static void on_message(void *arg, struct tg_message *message)
{
    if (tg_plugin_host.deliver != NULL)
        tg_plugin_host.deliver(arg, message);
}

enum tg_err tg_gate_init(struct tg_gate *gate, struct tg_worker *worker, struct tg_gateway *gateway)
{
    *gate = (struct tg_gate){.worker = worker, .gateway = gateway, .date_second = UINT64_MAX};
    tg_list_init(&gate->requests);
    tg_list_init(&gate->arrivals);
    tg_list_init(&gate->mirrors);
    tg_list_init(&gate->clients);
    tg_list_init(&gate->acceptors);
    tg_list_init(&gate->background);
    tg_list_init(&gate->lingering);
    tg_claims_init(&gate->claims, &worker->loop);
    tg_runner_init(&gate->runner);
    tg_encoder_pool_init(&gate->encoders);
    tg_accounting_init(&gate->accounting);
    gate->pool = tg_pool_new(worker);
    if (gate->pool == NULL)
        return TG_E_NOMEM;
    tg_pool_set_tls(gate->pool, gateway->tls);
    struct tg_limits limits;
    tg_limits_init(&limits);
    gate->dns = tg_dns_new(worker);
    if (gate->dns != NULL)
        gate->resolver = tg_resolver_new(worker, tg_dns_source(gate->dns), &limits);
    if (gate->resolver == NULL) {
        tg_dns_free(&gate->dns);
        tg_pool_free(&gate->pool);
        return TG_E_NOMEM;
    }
    tg_bus_join(gateway->bus, &gate->mailbox, &worker->loop, on_message, gate);
    return TG_OK;
}

enum tg_err tg_gate_resolve_by(struct tg_gate *gate, const struct tg_resolver_source *source)
{
    struct tg_limits limits;
    tg_limits_init(&limits);
    struct tg_resolver *resolver = tg_resolver_new(gate->worker, source, &limits);
    if (resolver == NULL)
        return TG_E_NOMEM;
    tg_resolver_free(&gate->resolver);
    tg_dns_free(&gate->dns);
    gate->resolver = resolver;
    return TG_OK;
}

enum tg_err tg_gate_adopt(struct tg_gate *gate, struct tg_snapshot *snapshot, struct tg_vm_set *vms)
{
    tg_vm_set_take_over(vms, gate->vms);
    tg_background_retire_all(gate->vms);
    tg_targets_begin(vms->targets);
    tg_targets_keep_warm(vms->targets, snapshot, gate->pool);
    tg_vm_set_unref(&gate->vms);
    tg_snapshot_unref(&gate->snapshot);
    gate->vms = vms;
    gate->snapshot = snapshot;
    tg_bus_advance(&gate->mailbox, snapshot->revision);
    tg_background_begin_all(vms);
    return TG_OK;
}

void tg_gate_release(struct tg_gate *gate)
{
    tg_assert(tg_list_is_empty(&gate->requests) && tg_list_is_empty(&gate->clients) &&
              tg_list_is_empty(&gate->acceptors));
    tg_mirrors_stop(gate);
    tg_background_retire_all(gate->vms);
    tg_background_stop(gate);
    tg_loop_run_deferred(&gate->worker->loop);
    tg_pool_free(&gate->pool);
    tg_encoder_pool_release(&gate->encoders);
    tg_zone_value_release(&gate->in_hand);
    tg_vm_set_unref(&gate->vms);
    tg_snapshot_unref(&gate->snapshot);
    tg_resolver_free(&gate->resolver);
    tg_dns_free(&gate->dns);
    tg_claims_release(&gate->claims);
    tg_bus_leave(&gate->mailbox);
    if (tg_plugin_host.end_gate != NULL)
        tg_plugin_host.end_gate(gate);
}

void tg_gate_check_drained(struct tg_gate *gate)
{
    if (!gate->worker->draining || gate->on_drained == NULL || !tg_list_is_empty(&gate->clients) ||
        !tg_list_is_empty(&gate->requests) || !tg_list_is_empty(&gate->arrivals))
        return;
    tg_background_retire_all(gate->vms); /* queues send what they have */
    if (gate->on_drained == NULL ||      /* told meanwhile */
        !tg_list_is_empty(&gate->background) || !tg_list_is_empty(&gate->lingering))
        return;
    void (*on_drained)(struct tg_gate *) = gate->on_drained;
    gate->on_drained = NULL;
    on_drained(gate);
}

void tg_gate_drain(struct tg_gate *gate)
{
    if (gate->worker->draining)
        return;
    tg_acceptors_close(gate);
    gate->worker->draining = true;
    tg_pool_close_idle(gate->pool);
    tg_clients_drain(gate);
    tg_gate_check_drained(gate);
}

void tg_gate_stop(struct tg_gate *gate)
{
    tg_gate_drain(gate);
    TG_LIST_FOREACH(&gate->requests, it)
    tg_ws_say_goodbye(TG_LIST_ENTRY(it, struct tg_request, link));
    tg_clients_close(gate);
    TG_LIST_FOREACH(&gate->requests, it)
    tg_request_stop(TG_LIST_ENTRY(it, struct tg_request, link));
    tg_background_retire_all(gate->vms);
    tg_background_stop(gate);
    tg_gate_check_drained(gate);
}

struct tg_str tg_gate_date(struct tg_gate *gate)
{
    uint64_t real = gate->worker->loop.clock.real;
    if (real / TG_USEC_PER_SEC != gate->date_second) {
        gate->date_second = real / TG_USEC_PER_SEC;
        tg_clock_http_date(real, gate->date);
    }
    return tg_str(gate->date, sizeof(gate->date));
}

struct tg_worker *tg_gate_worker(struct tg_gate *gate)
{
    return gate->worker;
}

const struct tg_gate_observer *tg_gate_observer(const struct tg_gate *gate)
{
    return gate->observer;
}

struct tg_runner *tg_gate_runner(struct tg_gate *gate)
{
    return &gate->runner;
}

bool tg_gate_is_dev(const struct tg_gate *gate)
{
    return gate->gateway->dev;
}
