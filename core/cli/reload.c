/* reload.c: the last word on a reload, in the log and over the channel. */
#include "base/banned.h"
#include "cli/reload.h"

#include "cli/control.h"

void tg_reload_log(const char *path, const struct tg_snapshot *current, enum tg_err err,
                   const char *reason)
{
    unsigned long long revision = current->revision;
    if (err == TG_OK)
        tg_log(TG_LOG_INFO, "reload", "%s is in force (revision %llu)", path, revision);
    else
        tg_log(TG_LOG_ERROR, "reload", "%s is not taken over: %s; revision %llu stays", path,
               reason, revision);
}

void tg_reload_answer(const struct tg_boot *boot, uint32_t id, const struct tg_snapshot *current,
                      enum tg_err err, const char *reason)
{
    struct tg_control_message message = {.type = TG_CONTROL_RELOADED, .id = id, .err = err};
    if (boot->single) {
        tg_reload_log(boot->config_path, current, err, reason);
        return;
    }
    if (err != TG_OK)
        tg_control_set_text(&message, tg_str_c(reason));
    enum tg_err sent = tg_control_send(boot->control_fd, &message);
    if (sent != TG_OK)
        tg_log(TG_LOG_ERROR, "reload", "the supervisor cannot be told the outcome: %s",
               tg_err_text(sent));
}
