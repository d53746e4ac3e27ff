/* reload.c: what opens a reload in the gateway process, and the last word on it.
 *
 * Under a supervisor the same file has just been evaluated there without a mistake, and what people
 * should know has been printed. So this evaluation is silent; it fails only for a file that changed
 * in between, which `tidegate check` then explains, or when memory is out.
 */
#include "base/banned.h"
#include "cli/reload.h"

#include "cli/sockets.h"
#include "config/load.h"

/* Evaluates the configuration where a supervisor has done so before. */
static enum tg_err evaluate_again(const char *path, struct tg_snapshot **out, char *reason)
{
    FILE *nowhere = fopen("/dev/null", "we");
    enum tg_err err = tg_config_load(path, nowhere != NULL ? nowhere : stderr, out);
    if (nowhere != NULL)
        fclose(nowhere);
    if (err != TG_OK)
        snprintf(reason, TG_CONTROL_TEXT_MAX,
                 "%s; it was valid a moment ago, `tidegate check` says what is wrong with it now",
                 tg_err_text(err));
    return err;
}

static enum tg_err evaluate(const struct tg_boot *boot, struct tg_snapshot **out, char *reason)
{
    if (!boot->single)
        return evaluate_again(boot->config_path, out, reason);
    enum tg_err err = tg_config_load(boot->config_path, stderr, out);
    if (err != TG_OK)
        snprintf(reason, TG_CONTROL_TEXT_MAX, TG_RELOAD_MISTAKES);
    return err;
}

enum tg_err tg_reload_prepare(struct tg_boot *boot, struct tg_snapshot **out,
                              char reason[TG_CONTROL_TEXT_MAX])
{
    enum tg_err err = evaluate(boot, out, reason);
    if (err != TG_OK)
        return err;
    err = tg_sockets_fit(boot, *out, reason);
    if (err == TG_OK)
        return TG_OK;
    tg_listen_set_rollback(boot->sockets);
    tg_snapshot_unref(out);
    return err;
}

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
