/* retry.c: see retry.h. */
#include "base/banned.h"
#include "upstream/retry.h"

enum tg_retry_class tg_retry_class_of(enum tg_err err, bool connected)
{
    switch (err) {
    case TG_E_NOMEM:
    case TG_E_CANCELLED:
    case TG_E_UNSUPPORTED:
        return TG_RETRY_NEVER;
    case TG_E_LIMIT:
    case TG_E_FILES:
        return connected ? TG_RETRY_NEVER : TG_RETRY_CONNECT;
    case TG_E_TIMEOUT:
        return connected ? TG_RETRY_TIMEOUT : TG_RETRY_CONNECT;
    default:
        return connected ? TG_RETRY_RESET : TG_RETRY_CONNECT;
    }
}

bool tg_retry_is_own(enum tg_err err)
{
    return err == TG_E_NOMEM || err == TG_E_FILES;
}

const char *tg_retry_label(enum tg_retry_class class)
{
    static const char *const labels[TG_RETRY_CLASSES] = {"connect", "reset", "timeout", "status",
                                                         "other"};
    return labels[class];
}

bool tg_retry_wants_status(const struct tg_retry_conf *conf, unsigned status)
{
    for (uint32_t i = 0; i < conf->status_count; i++) {
        if (conf->statuses[i] == status)
            return true;
    }
    return false;
}

bool tg_retry_begin(const struct tg_retry_conf *conf, _Atomic uint32_t *retries, uint32_t live)
{
    uint32_t most = TG_MAX((uint32_t)(conf->budget * live), TG_RETRY_FLOOR);
    uint32_t before = atomic_fetch_add_explicit(retries, 1, memory_order_relaxed);
    if (before < most)
        return true;
    tg_retry_end(retries);
    return false;
}

void tg_retry_end(_Atomic uint32_t *retries)
{
    atomic_fetch_sub_explicit(retries, 1, memory_order_relaxed);
}

uint64_t tg_retry_backoff(const struct tg_retry_conf *conf, uint32_t n, struct tg_rand *rand)
{
    uint64_t most = conf->backoff << TG_MIN(n, 20u);
    most = TG_MIN(most, conf->backoff_most);
    return most == 0 ? 0 : tg_rand_below(rand, most);
}
