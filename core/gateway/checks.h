/* checks.h: has the checker ask what a snapshot says: health.active of its services. */
#ifndef TG_GATEWAY_CHECKS_H
#define TG_GATEWAY_CHECKS_H

#include "config/snapshot.h"
#include "upstream/checker.h"

/* From now on the targets of `snapshot` are checked and no others. It must stay until the next call
 * or the end of the checker. What there is no memory for is not checked, and logged. */
void tg_checks_follow(struct tg_checker *checker, const struct tg_snapshot *snapshot);

#endif
