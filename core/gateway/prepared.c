/* prepared.c: see prepared.h. Lists are few and short: a walk for each phase, nothing kept. */
#include "base/banned.h"
#include "gateway/prepared.h"

#include "gateway/param.h"
#include "route/expr.h"

enum tg_err tg_prepared_add(struct tg_stand_ins *ins, enum tg_phase phase, struct tg_expr *when,
                            const struct tg_recognition *by, struct tg_prepared_step step)
{
    struct tg_stand_in **end = &ins->phase[phase];
    for (unsigned count = 1; *end != NULL; end = &(*end)->next) {
        if (count++ == TG_STAND_INS_MAX)
            return TG_E_LIMIT;
    }
    *end = tg_mem_alloc(TG_MEM_PLUGIN, sizeof(**end));
    if (*end == NULL)
        return TG_E_NOMEM;
    **end = (struct tg_stand_in){.when = when, .step = step};
    if (by != NULL)
        (*end)->by = *by;
    return TG_OK;
}

void tg_prepared_release(struct tg_stand_ins *ins)
{
    for (unsigned i = 0; i < TG_PHASES; i++) {
        while (ins->phase[i] != NULL) {
            struct tg_stand_in *first = ins->phase[i];
            ins->phase[i] = first->next;
            tg_expr_free(&first->when);
            tg_mem_free(TG_MEM_PLUGIN, first);
        }
    }
}

/* A request that is asked for the fields of an expression. */
struct subject {
    struct tg_request *r;
    bool failed; /* memory was out: what the expression says is worth nothing */
    char room[TG_ADDR_TEXT_MAX];
};

/* A field for the expression of `when`: see route/expr.h. */
static bool fetch_field(void *arg, enum tg_expr_field field, struct tg_str name, uint64_t key,
                        struct tg_str *value)
{
    struct subject *subject = arg;
    struct tg_request *r = subject->r;
    const struct tg_field *header;
    uint16_t port;
    *value = tg_str(NULL, 0);
    switch (field) {
    case TG_EXPR_METHOD:
        *value = r->in.method_name;
        break;
    case TG_EXPR_PATH:
        *value = r->in.path;
        break;
    case TG_EXPR_HOST:
        *value = tg_param_host(r, &port);
        break;
    case TG_EXPR_SCHEME:
        *value = r->scheme;
        break;
    case TG_EXPR_CLIENT_IP:
        *value = tg_addr_ip_text(&r->client, subject->room);
        break;
    case TG_EXPR_HEADER:
        header = tg_fields_find_key(&r->in.fields, name, key);
        *value = header != NULL ? header->value : *value;
        break;
    case TG_EXPR_QUERY:
        subject->failed |= tg_param_query(r, name, value) != TG_OK;
        break;
    }
    return value->p != NULL;
}

bool tg_condition_holds(const struct tg_expr *when, struct tg_request *r)
{
    struct subject subject;
    if (when == NULL)
        return true;
    subject.r = r;
    subject.failed = false;
    bool holds = tg_expr_test(when, fetch_field, &subject);
    return holds || subject.failed;
}

/* Who cannot be recognised is left to the plugin's function. */
static bool recognises(const struct tg_stand_in *made, struct tg_request *r)
{
    return made->by.header.p == NULL || tg_request_recognise(r, &made->by) == TG_OK;
}

enum tg_prepared tg_prepared_run(const struct tg_stand_ins *ins, struct tg_request *r)
{
    const struct tg_stand_in *made = ins->phase[r->plugins.phase];
    while (made != NULL && !(tg_condition_holds(made->when, r) && recognises(made, r)))
        made = made->next;
    return made != NULL ? made->step.run(made->step.of, r) : TG_PREPARED_LEFT;
}
