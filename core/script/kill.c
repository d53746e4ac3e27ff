/* kill.c: names and texts from kill.def. */
#include "base/banned.h"
#include "script/kill.h"

#include "base/assert.h"

static const struct {
    const char *label;
    const char *text;
} kills[] = {
    {"none", "not killed"},
#define TG_KILL(name, label, text) {label, text},
#include "script/kill.def"
#undef TG_KILL
};

const char *tg_kill_label(enum tg_kill reason)
{
    tg_assert(reason < TG_KILL_COUNT);
    return kills[reason].label;
}

const char *tg_kill_text(enum tg_kill reason)
{
    tg_assert(reason < TG_KILL_COUNT);
    return kills[reason].text;
}
