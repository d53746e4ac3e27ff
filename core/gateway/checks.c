/* checks.c: see checks.h. */
#include "base/banned.h"
#include "gateway/checks.h"

#include "base/mem.h"
#include "gateway/target.h"
#include "observe/log.h"

static void want(const struct tg_checks *checks, const struct tg_service_conf *service,
                 const struct tg_balance_target *target)
{
    if (tg_checker_want(checks->checker, service->name, target, service->tls, service->policy.http,
                        &service->policy.check) != TG_OK)
        tg_log_kv(TG_LOG_ERROR, "health", "no memory: a target is not checked",
                  tg_log_str("service", service->name), tg_log_str("target", target->name));
}

/* The addresses that the names of a service stand for now. */
static void want_found(const struct tg_checks *checks, const struct tg_service_conf *service,
                       const struct tg_roster *roster)
{
    const struct tg_balance *balance = tg_roster_balance(roster);
    for (uint32_t i = 0; i < tg_balance_count(balance); i++)
        want(checks, service, tg_balance_target_at(balance, i));
}

static void want_all(const struct tg_checks *checks)
{
    const struct tg_snapshot *snapshot = checks->snapshot;
    tg_checker_begin(checks->checker);
    for (uint32_t i = 0; i < snapshot->service_count; i++) {
        const struct tg_service_conf *service = &snapshot->services[i];
        if (service->policy.check.kind == TG_CHECK_NONE)
            continue;
        if (checks->rosters != NULL && checks->rosters[i] != NULL) {
            want_found(checks, service, checks->rosters[i]);
            continue;
        }
        for (uint32_t t = 0; t < service->target_count; t++) {
            if (service->targets[t].kind == TG_TARGET_ADDRESS)
                want(checks, service, &service->targets[t]);
        }
    }
    tg_checker_end(checks->checker);
}

static void on_change(void *arg, struct tg_roster *roster)
{
    (void)roster;
    want_all(arg);
}

static struct tg_roster *make_roster(struct tg_checks *checks, const struct tg_snapshot *snapshot,
                                     const struct tg_service_conf *service)
{
    struct tg_roster_options options = {
        .balance = {.registry = checks->registry,
                    .service = service->name,
                    .policy = &service->policy,
                    .place = snapshot->settings.place},
        .declared = service->targets,
        .n = service->target_count,
        .worker = checks->worker,
        .resolver = checks->resolver,
        .on_change = on_change,
        .arg = checks,
    };
    struct tg_roster *roster = tg_roster_new(&options);
    if (roster == NULL)
        tg_log_kv(TG_LOG_ERROR, "health", "no memory: names are not looked up for checks",
                  tg_log_str("service", service->name));
    return roster;
}

static void drop_rosters(struct tg_roster **rosters, uint32_t n)
{
    for (uint32_t i = 0; rosters != NULL && i < n; i++)
        tg_roster_free(&rosters[i]);
    tg_mem_free(TG_MEM_CONFIG, rosters);
}

static void make_rosters(struct tg_checks *checks)
{
    const struct tg_snapshot *snapshot = checks->snapshot;
    checks->rosters = tg_mem_zalloc(TG_MEM_CONFIG, TG_MAX(snapshot->service_count, 1u),
                                    sizeof(checks->rosters[0]));
    for (uint32_t i = 0; i < snapshot->service_count && checks->rosters != NULL; i++) {
        const struct tg_service_conf *service = &snapshot->services[i];
        if (service->policy.check.kind == TG_CHECK_NONE ||
            !tg_roster_is_needed(service->targets, service->target_count))
            continue;
        tg_dns_follow(checks->dns, checks->resolver, &snapshot->settings);
        checks->rosters[i] = make_roster(checks, snapshot, service);
    }
}

void tg_checks_follow(struct tg_checks *checks, struct tg_snapshot *snapshot)
{
    struct tg_snapshot *old = checks->snapshot;
    struct tg_roster **old_rosters = checks->rosters;
    checks->snapshot = tg_snapshot_ref(snapshot);
    make_rosters(checks);
    want_all(checks);
    for (uint32_t i = 0; i < snapshot->service_count && checks->rosters != NULL; i++) {
        if (checks->rosters[i] != NULL)
            tg_roster_begin(checks->rosters[i]);
    }
    if (old != NULL)
        drop_rosters(old_rosters, old->service_count);
    tg_snapshot_unref(&old);
}

void tg_checks_release(struct tg_checks *checks)
{
    if (checks->snapshot == NULL)
        return;
    drop_rosters(checks->rosters, checks->snapshot->service_count);
    checks->rosters = NULL;
    tg_snapshot_unref(&checks->snapshot);
}
