/* quota_refusal.c: what a quota does by itself with requests that it refuses: see quota.h.
 *
 * It is what a plugin's function would do with ctx.metrics, ctx.log and ctx:exit(), in this order;
 * attackers make many refusals, so they should cost little. Counting and noting do not fail the
 * request.
 */
#include "base/banned.h"
#include "gateway/quota.h"

#include "base/json.h"
#include "gateway/gate.h"
#include "observe/instrument.h"

static void count(const struct tg_request *r, const struct tg_quota *quota, struct tg_str name)
{
    struct tg_instrument *counter = quota->refusal.counter;
    char room[TG_INSTRUMENT_TEXT_MAX];
    struct tg_str values[2];
    if (counter == NULL)
        return;
    values[quota->refusal.limit_at] = name;
    values[1 - quota->refusal.limit_at] = quota->dry_run ? TG_STR("dry_run") : TG_STR("enforced");
    struct tg_str labels = tg_instrument_labels(counter, values, room);
    (void)tg_instrument_add(counter, tg_gate_worker(r->gate)->index, labels, 1);
}

/* False: the record is full, and goes out as it is. */
static bool note(struct tg_request *r, const struct tg_quota *quota, struct tg_str name)
{
    struct tg_fmt f;
    struct tg_json j;
    if (quota->refusal.field.p == NULL)
        return true;
    tg_request_begin_log_field(r, quota->refusal.field, &f, &j);
    tg_json_str(&j, name);
    return tg_request_end_log_field(r, &f) == TG_OK;
}

static struct tg_str missing_body(struct tg_request *r, struct tg_str key)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, 96);
    tg_fmt_lit(&f, "{\"error\":\"this request has no ");
    tg_json_text(&f, key);
    tg_fmt_lit(&f, " to be counted by\"}");
    return tg_fmt_str(&f);
}

/* What is in flight ends nobody knows when: 1; what is a rate, as the clock says, never earlier. */
static struct tg_str retry_after(struct tg_request *r, uint64_t us)
{
    struct tg_fmt f;
    uint64_t seconds = us / TG_USEC_PER_SEC + (us % TG_USEC_PER_SEC != 0);
    tg_fmt_init_arena(&f, &r->arena, 24);
    tg_fmt_u64(&f, TG_MAX(seconds, (uint64_t)1));
    return tg_fmt_str(&f);
}

static enum tg_err answer(struct tg_request *r, const struct tg_quota_outcome *outcome)
{
    const struct tg_quota_refusal *refusal = &outcome->quota->refusal;
    struct tg_field type = {.name = TG_STR("content-type"),
                            .value = TG_STR("application/json"),
                            .id = TG_FIELD_CONTENT_TYPE};
    struct tg_field retry = {.name = TG_STR("retry-after")};
    bool missing = outcome->missing != NULL;
    struct tg_str body = missing ? missing_body(r, outcome->missing->text) : refusal->body;
    enum tg_err err = TG_E_NOMEM;
    tg_field_identify(&retry);
    if (body.p != NULL)
        err = tg_request_answer(r, TG_SOURCE_PLUGIN, missing ? 403 : refusal->status, body);
    if (err == TG_OK)
        err = tg_request_apply_field(r, TG_EDIT_SET, &type);
    if (err != TG_OK || missing)
        return err;
    retry.value = retry_after(r, outcome->retry);
    return retry.value.p != NULL ? tg_request_apply_field(r, TG_EDIT_ADD, &retry) : TG_E_NOMEM;
}

static void tell_operator(struct tg_request *r, const struct tg_quota_outcome *outcome)
{
    const struct tg_quota *quota = outcome->quota;
    for (uint32_t i = 0; i < quota->n; i++) {
        if ((outcome->refused & 1u << i) == 0)
            continue;
        count(r, quota, quota->v[i].name);
        (void)note(r, quota, quota->v[i].name);
    }
}

enum tg_prepared tg_quota_settle(struct tg_request *r, struct tg_quota_outcome *outcome)
{
    bool refuses = outcome->refused != 0 || outcome->missing != NULL;
    if (outcome->err == TG_OK && !refuses)
        return TG_PREPARED_DONE;
    if (outcome->err != TG_OK || outcome->quota->refusal.status == 0)
        return TG_PREPARED_LEFT;
    if (!outcome->settled)
        tell_operator(r, outcome);
    outcome->settled = true;
    if (outcome->quota->dry_run)
        return TG_PREPARED_DONE;
    return answer(r, outcome) == TG_OK ? TG_PREPARED_ANSWERED : TG_PREPARED_FAILED;
}
