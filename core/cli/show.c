/* show.c: see show.h. */
#include "base/banned.h"
#include "cli/show.h"

#include "cli/report.h"

static int exit_status(enum tg_err err)
{
    if (err == TG_OK)
        return TG_EXIT_OK;
    return err == TG_E_NOT_FOUND ? TG_EXIT_USAGE : TG_EXIT_SYSTEM;
}

/* An answer that is none of what was asked for. */
static int refused(const struct tg_ask *ask, const char *path, const struct tg_ask_answer *answer)
{
    fprintf(stderr, "tidegate %s: %s%s answers %u: %s", ask->command, ask->text, path,
            answer->status, answer->text);
    return TG_EXIT_SYSTEM;
}

static int print(struct tg_report *report, const struct tg_ask_answer *answers, unsigned count,
                 const char *operand)
{
    struct tg_str texts[TG_SHOW_PATHS_MAX];
    for (unsigned i = 0; i < count; i++)
        texts[i] = tg_str(answers[i].text, answers[i].n);
    if (report != NULL)
        return exit_status(tg_report_print(report, texts, count, operand, stdout));
    for (unsigned i = 0; i < count; i++)
        fwrite(texts[i].p, 1, texts[i].n, stdout);
    return TG_EXIT_OK;
}

int tg_show_once(const struct tg_ask *ask, const struct tg_show *show, struct tg_report *report,
                 const char *operand)
{
    struct tg_ask_answer answers[TG_SHOW_PATHS_MAX] = {0};
    unsigned count = 0;
    int status = TG_EXIT_OK;
    while (status == TG_EXIT_OK && count < TG_SHOW_PATHS_MAX && show->paths[count] != NULL) {
        const char *path = show->paths[count];
        status = tg_ask_get(ask, path, &answers[count]);
        if (status == TG_EXIT_OK && answers[count].status != 200)
            status = refused(ask, path, &answers[count]);
        count++;
    }
    if (status == TG_EXIT_OK)
        status = print(report, answers, count, operand);
    for (unsigned i = 0; i < count; i++)
        tg_ask_answer_release(&answers[i]);
    return status;
}

int tg_show_run(const struct tg_args *args, const struct tg_show *show)
{
    struct tg_ask ask;
    struct tg_report *report = NULL;
    int status = tg_ask_find(args, &ask);
    if (status != TG_EXIT_OK)
        return status;
    bool json = (args->options & 1u << TG_SHOW_OPTION_JSON) != 0;
    if (!json && tg_report_new(show->report, &report) != TG_OK)
        return TG_EXIT_SYSTEM;
    status = tg_show_once(&ask, show, report, args->operands[0]);
    tg_report_free(&report);
    return status;
}

/* What there is to complain about goes to stderr. */
static int print_order(const struct tg_ask *ask, const struct tg_ask_answer *answer)
{
    struct tg_report *report = NULL;
    struct tg_str text = tg_str(answer->text, answer->n);
    int status = TG_EXIT_SYSTEM;
    if (answer->status == 200 || answer->status == 422)
        status = answer->status == 200 ? TG_EXIT_OK : TG_EXIT_CONFIG;
    if (tg_report_new("order", &report) != TG_OK)
        return TG_EXIT_SYSTEM;
    enum tg_err err =
        tg_report_print(report, &text, 1, ask->command, status == TG_EXIT_OK ? stdout : stderr);
    tg_report_free(&report);
    return err == TG_OK ? status : exit_status(err);
}

int tg_show_order(const struct tg_args *args, const char *path)
{
    struct tg_ask ask;
    struct tg_ask_answer answer;
    int status = tg_ask_find(args, &ask);
    if (status == TG_EXIT_OK)
        status = tg_ask_order(&ask, path, &answer);
    if (status != TG_EXIT_OK)
        return status;
    status = print_order(&ask, &answer);
    tg_ask_answer_release(&answer);
    return status;
}
