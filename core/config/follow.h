/* follow.h: what a new snapshot keeps of the one that is in force. */
#ifndef TG_CONFIG_FOLLOW_H
#define TG_CONFIG_FOLLOW_H

#include "base/err.h"
#include "config/snapshot.h"

/* Compares `next`, which nobody else has yet, with `now` and fills next->follows and next->kept:
 * the VMs of a plugin are kept when its code, what it needs, the limits of plugins, the zones and
 * the configurations of its instances are the same, these in whatever order. TG_E_NOMEM: none is
 * kept. Takes time in proportion to plugins and instances. */
enum tg_err tg_snapshot_follow(struct tg_snapshot *next, const struct tg_snapshot *now) TG_MUST_USE;

#endif
