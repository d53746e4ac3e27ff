/* fixture.h: one plugin in a real VM set, and requests that are made by hand.
 *
 * fixture_open() builds worker, gate and a snapshot with one plugin (text) that has one instance in
 * every phase; fixture_request() a request of that gate: GET /v1/items?a=1&b=x%20y with a few
 * headers. No socket and no loop round: phases are run by tg_plugins_run().
 */
#ifndef SPEC_BIND_FIXTURE_H
#define SPEC_BIND_FIXTURE_H

#include "bind/bind.h"
#include "gateway/internal.h"
#include "observe/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct fixture {
    struct tg_metrics *metrics;
    struct tg_worker worker;
    struct tg_gateway *gateway; /* not on the stack: a list of the process knows its tables, also
                                   after a test that failed in the middle */
    struct tg_gate gate;
    struct tg_snapshot *snapshot;
    struct tg_plugin_conf plugin;
    struct tg_instance_conf instance;
    const struct tg_instance_conf *chain[1];
    struct tg_chains chains;
    struct tg_listener_conf listener;
    struct tg_str exports[1];
    struct tg_stream stream;
};

/* An empty table in the encoding of script/marshal. */
#define FIXTURE_CONF TG_STR("{\0\0")

static inline void fixture_open(struct fixture *f, const char *text, enum tg_on_error on_error)
{
    struct tg_vm_error error = {.n = 0};
    struct tg_vm_set *vms;
    memset(f, 0, sizeof(*f));
    tg_bind_install();
    f->metrics = tg_metrics_new(1);
    assert_non_null(f->metrics);
    assert_int_equal(tg_worker_init(&f->worker, 0, tg_metrics_cells(f->metrics, 0)), TG_OK);
    f->gateway = tg_mem_zalloc(TG_MEM_OTHER, 1, sizeof(*f->gateway));
    assert_non_null(f->gateway);
    assert_int_equal(tg_gateway_init(f->gateway), TG_OK);
    assert_int_equal(tg_gate_init(&f->gate, &f->worker, f->gateway), TG_OK);
    f->exports[0] = TG_STR("seen");
    f->plugin = (struct tg_plugin_conf){.name = TG_STR("probe"),
                                        .version = TG_STR("1"),
                                        .chunkname = TG_STR("probe.lua"),
                                        .source = tg_str_c(text),
                                        .exports = f->exports,
                                        .export_count = 1,
                                        .instances = f->chain,
                                        .instance_count = 1,
                                        .phases = (1u << TG_PHASES) - 1};
    f->instance = (struct tg_instance_conf){.plugin = &f->plugin,
                                            .id = TG_STR("probe"),
                                            .conf = FIXTURE_CONF,
                                            .where = TG_STR("gateway.lua:1"),
                                            .on_error = on_error,
                                            .memory = 1 << 20,
                                            .churn = 64 << 20,
                                            .cpu = 200000,
                                            .wall = 5000000,
                                            .body = 1 << 20};
    f->chain[0] = &f->instance;
    for (unsigned i = 0; i < TG_PHASES; i++)
        f->chains.phase[i] = (struct tg_chain){f->chain, 1};
    f->listener = (struct tg_listener_conf){
        .name = TG_STR("web"), .address = TG_STR("127.0.0.1:80"), .chains = &f->chains};
    f->snapshot = tg_snapshot_new();
    assert_non_null(f->snapshot);
    tg_limits_init(&f->snapshot->settings.limits);
    f->snapshot->settings.server_name = TG_STR("tidegate");
    f->snapshot->plugins = &f->plugin;
    f->snapshot->plugin_count = 1;
    f->snapshot->instances = &f->instance;
    f->snapshot->instance_count = 1;
    f->snapshot->listeners = &f->listener;
    f->snapshot->listener_count = 1;
    enum tg_err err = tg_vm_set_new(&f->gate, f->snapshot, &vms, &error);
    if (err == TG_OK) {
        err = tg_vm_set_make_all(vms, &error);
        if (err != TG_OK)
            tg_vm_set_unref(&vms);
    }
    if (err != TG_OK)
        print_error("%.*s\n", (int)error.n, error.text);
    assert_int_equal(err, TG_OK);
    assert_int_equal(tg_gate_adopt(&f->gate, tg_snapshot_ref(f->snapshot), vms), TG_OK);
}

static inline struct tg_request *fixture_request(struct fixture *f)
{
    struct tg_addr peer;
    assert_int_equal(tg_addr_parse(TG_STR("192.0.2.7:4711"), &peer), TG_OK);
    struct tg_request *r = tg_request_new(&f->gate, &f->listener, &f->stream, &peer, NULL);
    assert_non_null(r);
    r->in.method_name = TG_STR("GET");
    r->in.minor = 1;
    r->in.authority = r->client_host = TG_STR("shop.example:8080");
    r->in.host = TG_STR("shop.example");
    r->in.port = 8080;
    r->in.raw_path = TG_STR("/v1/./items");
    r->in.path = TG_STR("/v1/items");
    r->in.query = TG_STR("a=1&b=x%20y&a=2");
    r->in_ended = true;
    tg_fields_init(&r->in.fields, &r->arena);
    assert_int_equal(tg_fields_add(&r->in.fields, TG_STR("X-One"), TG_STR("first")), TG_OK);
    assert_int_equal(tg_fields_add(&r->in.fields, TG_STR("x-one"), TG_STR("second")), TG_OK);
    assert_int_equal(tg_fields_add(&r->in.fields, TG_STR("Cookie"), TG_STR("s=42; t=\"q\"")),
                     TG_OK);
    return r;
}

static inline void fixture_end(struct tg_request *r)
{
    tg_plugins_end(r);
    r->free_later.run(&r->free_later);
}

static inline void fixture_close(struct fixture *f)
{
    tg_gate_release(&f->gate);
    tg_gateway_release(f->gateway);
    tg_mem_free(TG_MEM_OTHER, f->gateway);
    tg_worker_release(&f->worker);
    tg_metrics_free(&f->metrics);
    tg_snapshot_unref(&f->snapshot);
}

#endif
