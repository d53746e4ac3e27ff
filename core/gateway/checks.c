/* checks.c: see checks.h. */
#include "base/banned.h"
#include "gateway/checks.h"

#include "observe/log.h"

void tg_checks_follow(struct tg_checker *checker, const struct tg_snapshot *snapshot)
{
    tg_checker_begin(checker);
    for (uint32_t i = 0; i < snapshot->service_count; i++) {
        const struct tg_service_conf *service = &snapshot->services[i];
        if (service->policy.check.kind == TG_CHECK_NONE)
            continue;
        for (uint32_t t = 0; t < service->target_count; t++) {
            const struct tg_balance_target *target = &service->targets[t];
            if (tg_checker_want(checker, service->name, target->name, &target->addr, service->tls,
                                service->policy.http, &service->policy.check) != TG_OK)
                tg_log_kv(TG_LOG_ERROR, "health", "no memory: a target is not checked",
                          tg_log_str("service", service->name), tg_log_str("target", target->name));
        }
    }
    tg_checker_end(checker);
}
