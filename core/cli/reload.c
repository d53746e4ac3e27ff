/* reload.c: see reload.h.
 *
 * Under a supervisor the same sources have just been evaluated there without a mistake, and what
 * people should know has been printed. So this evaluation is silent; it fails only when memory is
 * out, or what settings.memory grants.
 */
#include "base/banned.h"
#include "cli/reload.h"

#include "cli/sockets.h"
#include "config/follow.h"
#include "config/load.h"

#include <unistd.h>

struct tg_str tg_reload_read_notes(int fd, char *room, size_t size)
{
    ssize_t n = fd >= 0 ? pread(fd, room, size, 0) : 0;
    return tg_str(room, n > 0 ? (size_t)n : 0);
}

/* Evaluates what the supervisor has evaluated. */
static enum tg_err evaluate_again(struct tg_candidate *c, const char *path, int fd)
{
    FILE *nowhere = fopen("/dev/null", "we");
    enum tg_err err = tg_sources_receive(fd, &c->sources);
    if (err == TG_OK)
        err =
            tg_config_load_from(path, c->sources, nowhere != NULL ? nowhere : stderr, &c->snapshot);
    if (nowhere != NULL)
        (void)fclose(nowhere);
    return err;
}

/* It cannot be loaded here, where `now` is in force and its budget holds. */
static void refuse(struct tg_candidate *c, enum tg_err err, const struct tg_snapshot *now)
{
    char reason[TG_ORDER_REASON_MAX];
    const struct tg_budget *budget = &now->settings.budget;
    if (err == TG_E_NOMEM && budget->total != 0)
        snprintf(reason, sizeof(reason),
                 "it takes more than what settings.memory leaves for configurations (%llu KiB with "
                 "the one in force): enlarge it or shares.config, and start anew",
                 (unsigned long long)tg_budget_bytes(budget, TG_BUDGET_CONFIG) >> 10);
    else
        snprintf(reason, sizeof(reason), "%s", tg_err_text(err));
    tg_candidate_refuse(c, err, reason);
}

static void take_over(struct tg_candidate *c, const char *path, struct tg_control_message *message,
                      const struct tg_snapshot *now)
{
    enum tg_err err = TG_E_FILES; /* it was sent with two descriptors */
    *c = (struct tg_candidate){
        .order = message->order, .number = message->revision, .origin = message->origin};
    if (message->fd_count > 0)
        err = evaluate_again(c, path, message->fds[0]);
    if (message->fd_count > 1) {
        c->notes = fdopen(message->fds[1], "r");
        message->fd_count -= c->notes != NULL;
    }
    tg_control_close_fds(message);
    if (err == TG_OK) {
        c->snapshot->revision = c->number;
        return;
    }
    c->snapshot = NULL;
    refuse(c, err, now);
}

/* Names the listeners; --single opens them. */
static void fit_sockets(struct tg_candidate *c, struct tg_boot *boot)
{
    char reason[TG_ORDER_REASON_MAX];
    if (c->order.kind == TG_ORDER_DRY_RUN)
        return;
    enum tg_err err = tg_sockets_fit(boot, c->snapshot, reason);
    if (err != TG_OK)
        tg_candidate_refuse(c, err, reason);
}

void tg_reload_prepare(struct tg_reload *reload, struct tg_boot *boot,
                       struct tg_control_message *message, const struct tg_snapshot *now)
{
    struct tg_candidate *c = &reload->candidate;
    reload->running = true;
    reload->id = message->id;
    if (boot->single) {
        tg_candidate_make(c, boot->config_path, boot->revisions, &message->order);
        if (c->order.kind != TG_ORDER_DRY_RUN)
            tg_candidate_log(c);
    } else {
        take_over(c, boot->config_path, message, now);
    }
    enum tg_err err = c->decided ? TG_OK : tg_snapshot_follow(c->snapshot, now);
    if (err != TG_OK)
        refuse(c, err, now);
    if (!c->decided)
        fit_sockets(c, boot);
}

void tg_reload_commit(struct tg_reload *reload, struct tg_boot *boot)
{
    struct tg_candidate *c = &reload->candidate;
    c->decided = true;
    c->outcome = TG_OUTCOME_TAKEN;
    tg_listen_set_commit(boot->sockets);
    tg_revisions_add(boot->revisions, c->number, c->origin, c->sources);
    if (!boot->single)
        tg_revisions_forget_sources(boot->revisions);
    tg_log_set_level(c->snapshot->settings.log_level);
}

void tg_reload_drop(struct tg_reload *reload, struct tg_boot *boot)
{
    if (reload->candidate.order.kind != TG_ORDER_DRY_RUN)
        tg_listen_set_rollback(boot->sockets);
}

void tg_reload_log(const char *path, const struct tg_revision *now,
                   const struct tg_settlement *settled)
{
    switch (settled->outcome) {
    case TG_OUTCOME_TAKEN:
        if (now->origin != 0)
            tg_log(TG_LOG_INFO, "reload", "revision %u of %s is in force again (as revision %u)",
                   now->origin, path, now->number);
        else if (settled->order.kind == TG_ORDER_CERTIFICATES)
            tg_log(TG_LOG_INFO, "reload", "new certificates are in force (revision %u)",
                   now->number);
        else
            tg_log(TG_LOG_INFO, "reload", "%s is in force (revision %u)", path, now->number);
        break;
    case TG_OUTCOME_UNCHANGED:
    case TG_OUTCOME_CHECKED:
        tg_log(TG_LOG_INFO, "reload", "%s: %s", path, settled->reason);
        break;
    default:
        if (settled->order.kind == TG_ORDER_CERTIFICATES) {
            tg_log(TG_LOG_ERROR, "reload",
                   "the certificates that changed are not taken: %s; those of revision %u stay",
                   settled->reason, now->number);
            break;
        }
        tg_log(TG_LOG_ERROR, "reload", "%s is not taken over: %s; revision %u stays", path,
               settled->reason, now->number);
    }
}

void tg_reload_answer(const struct tg_reload *reload, const struct tg_boot *boot)
{
    const struct tg_candidate *c = &reload->candidate;
    struct tg_control_message message = {
        .type = TG_CONTROL_RELOADED, .id = reload->id, .err = c->err};
    struct tg_settlement settled = {.order = c->order, .outcome = c->outcome, .reason = c->reason};
    if (boot->single) {
        tg_reload_log(boot->config_path, tg_revisions_newest(boot->revisions), &settled);
        return;
    }
    if (c->err != TG_OK)
        tg_control_set_text(&message, tg_str_c(c->reason));
    enum tg_err sent = tg_control_send(boot->control_fd, &message);
    if (sent != TG_OK)
        tg_log(TG_LOG_ERROR, "reload", "the supervisor cannot be told the outcome: %s",
               tg_err_text(sent));
}

void tg_reload_end(struct tg_reload *reload)
{
    tg_candidate_release(&reload->candidate);
    reload->running = false;
}
