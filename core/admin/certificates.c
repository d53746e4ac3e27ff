/* certificates.c: when the certificates of listeners end, for /metrics. */
#include "base/banned.h"
#include "admin/internal.h"

#include "net/tls_context.h"
#include "observe/exposition.h"

#define FAMILY "tidegate_certificate_not_after_timestamp_seconds"

static void write_leaf(struct tg_fmt *f, struct tg_str listener, uint32_t number,
                       const struct tg_tls_leaf *leaf)
{
    tg_fmt_printf(f, FAMILY "{listener=\"%.*s\",certificate=\"%u\",name=\"", TG_STR_ARG(listener),
                  number);
    tg_exposition_label(f, tg_str_c(leaf->name)); /* whoever signed it wrote that */
    tg_fmt_printf(f, "\",kind=\"%s\"} %lld\n", leaf->kind, (long long)leaf->not_after);
}

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
            tg_exposition_head(f, TG_STR(FAMILY), "gauge", TG_STR("When a certificate ends."));
        begun = begun || n > 0;
        for (uint32_t k = 0; k < n; k++)
            write_leaf(f, s->listeners[i].name, k + 1, &leaves[k]);
    }
}
