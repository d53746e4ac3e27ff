/* certificates.c: when the certificates of listeners end, for /metrics. */
#include "base/banned.h"
#include "admin/internal.h"

#include "net/tls_context.h"

void tg_admin_write_certificates(const struct tg_admin *admin, struct tg_fmt *f)
{
    const struct tg_snapshot *s = admin->snapshot;
    bool begun = false;
    for (uint32_t i = 0; s != NULL && i < s->listener_count; i++) {
        struct tg_tls_leaf *leaves;
        uint32_t n = 0;
        if (s->listeners[i].tls != NULL)
            n = tg_tls_context_leaves(s->listeners[i].tls, &leaves);
        if (n > 0 && !begun)
            tg_fmt_lit(f, "# HELP tidegate_certificate_not_after_timestamp_seconds When a "
                          "certificate ends.\n"
                          "# TYPE tidegate_certificate_not_after_timestamp_seconds gauge\n");
        begun = begun || n > 0;
        for (uint32_t k = 0; k < n; k++)
            tg_fmt_printf(f,
                          "tidegate_certificate_not_after_timestamp_seconds{listener=\"%.*s\","
                          "certificate=\"%u\",name=\"%s\",kind=\"%s\"} %lld\n",
                          TG_STR_ARG(s->listeners[i].name), k + 1, leaves[k].name, leaves[k].kind,
                          (long long)leaves[k].not_after);
    }
}
