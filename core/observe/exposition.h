/* exposition.h: pieces of Prometheus' text format (version 0.0.4), for whoever writes samples.
 *
 * A scraper that finds one malformed line refuses all of them. So whatever is not a name of ours,
 * such as the path of a socket, the subject of a certificate or the help of a plugin, passes here.
 *
 * Failure latches in the builder. Any thread.
 */
#ifndef TG_OBSERVE_EXPOSITION_H
#define TG_OBSERVE_EXPOSITION_H

#include "base/fmt.h"

/* The HELP and TYPE lines in front of a family; `kind` is "counter", "gauge" or "histogram". */
void tg_exposition_head(struct tg_fmt *f, struct tg_str family, const char *kind,
                        struct tg_str help);

/* What stands between the quotes of a label: escaped where it must be, control characters as
 * spaces, bytes that are not UTF-8 as "?". */
void tg_exposition_label(struct tg_fmt *f, struct tg_str value);

/* Microseconds as seconds, exactly. */
void tg_exposition_seconds(struct tg_fmt *f, uint64_t us);

#endif
