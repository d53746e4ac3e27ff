/* certificates.h: what the keeper does for the certificates of listeners: it warns before they end,
 * and keeps the OCSP responses fresh that are stapled to handshakes.
 *
 *   for each certificate that staples:  ASKING -- good answer --> WAITING until half of its time
 *                                         |  ^                       |     is over, a day at most
 *                         failure, in log |  +-----------------------+
 *                                         v
 *                                       WAITING, a minute, then longer; the old answer stays as
 * long as it is good
 *
 * Answers are asked for over HTTP, from the address in the configuration or the certificate,
 * checked (net/ocsp.h), and given to the certificate of the configuration in force
 * (net/tls_leaf.h). They outlive reloads that keep the certificate. Handshakes wait for none of
 * this.
 *
 * Threads: the keeper's. Bounds: an exchange of 10 s, an answer of TG_OCSP_MAX bytes.
 */
#ifndef TG_GATEWAY_CERTIFICATES_H
#define TG_GATEWAY_CERTIFICATES_H

#include "config/snapshot.h"
#include "event/worker.h"

#define TG_CERTIFICATES_WARN_DAYS 14

struct tg_certificates;

/* On the keeper's `worker` (borrowed); NULL: no memory. */
struct tg_certificates *tg_certificates_new(struct tg_worker *worker) TG_MUST_USE;
void tg_certificates_free(struct tg_certificates **certificates);

/* From now on it is those of `snapshot` that count. What there is no memory for is logged. */
void tg_certificates_follow(struct tg_certificates *certificates,
                            const struct tg_snapshot *snapshot);

#endif
