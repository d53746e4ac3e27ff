/* kill.h: the reasons for which an activation is killed, from kill.def. Constant data, no state. */
#ifndef TG_SCRIPT_KILL_H
#define TG_SCRIPT_KILL_H

#include "base/defs.h"

enum tg_kill {
    TG_KILL_NONE,
#define TG_KILL(name, label, text) TG_KILL_##name,
#include "script/kill.def"
#undef TG_KILL
    TG_KILL_COUNT
};

/* "cpu", "wall", ...; "none" for TG_KILL_NONE. Static storage. */
const char *tg_kill_label(enum tg_kill reason);

/* A sentence for people; static storage. */
const char *tg_kill_text(enum tg_kill reason);

#endif
