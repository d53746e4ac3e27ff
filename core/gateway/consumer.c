/* consumer.c: see consumer.h.
 *
 * Merging is by pairs (plugin, id) and by plugin->place, in which stage and priority are one
 * number. Lists are a few instances long, so looking for one is a walk.
 */
#include "base/banned.h"
#include "gateway/consumer.h"

static const struct tg_chain no_chain = {NULL, 0};

static bool contains(const struct tg_chain *chain, const struct tg_instance_conf *instance)
{
    for (uint32_t i = 0; i < chain->n; i++) {
        if (chain->v[i] == instance)
            return true;
    }
    return false;
}

/* The instance of `own` that runs in place of `instance`; NULL: none. */
static const struct tg_instance_conf *in_place_of(const struct tg_chain *own,
                                                  const struct tg_instance_conf *instance)
{
    for (uint32_t i = 0; i < own->n; i++) {
        if (own->v[i]->plugin == instance->plugin && tg_str_eq(own->v[i]->id, instance->id))
            return own->v[i];
    }
    return NULL;
}

/* Whether `own`, which replaces none, comes before `base`. */
static bool comes_before(const struct tg_instance_conf *own, const struct tg_instance_conf *base,
                         bool reversed)
{
    return reversed ? own->plugin->place >= base->plugin->place
                    : own->plugin->place < base->plugin->place;
}

/* What is merged: a route's chain and the consumer's, behind what has run. */
struct merge {
    const struct tg_chain *base, *own;
    struct tg_chain ran;
    bool reversed;
    const struct tg_instance_conf **out;
    uint32_t n;
};

static bool replaces_some(const struct merge *m, const struct tg_instance_conf *own)
{
    for (uint32_t i = 0; i < m->base->n; i++) {
        const struct tg_instance_conf *base = m->base->v[i];
        if (!contains(&m->ran, base) && in_place_of(m->own, base) == own)
            return true;
    }
    return false;
}

/* Adds those of the consumer's from `*next` on that come before `base` (NULL: all). */
static void add_own(struct merge *m, uint32_t *next, const struct tg_instance_conf *base)
{
    for (; *next < m->own->n; ++*next) {
        const struct tg_instance_conf *own = m->own->v[*next];
        if (contains(&m->ran, own) || replaces_some(m, own))
            continue;
        if (base != NULL && !comes_before(own, base, m->reversed))
            return;
        m->out[m->n++] = own;
    }
}

static void merge(struct merge *m)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < m->ran.n; i++)
        m->out[m->n++] = m->ran.v[i];
    for (uint32_t i = 0; i < m->base->n; i++) {
        const struct tg_instance_conf *base = m->base->v[i];
        if (contains(&m->ran, base))
            continue;
        const struct tg_instance_conf *own = in_place_of(m->own, base);
        add_own(m, &next, base);
        if (own == NULL)
            m->out[m->n++] = base;
        else if (!contains(&m->ran, own))
            m->out[m->n++] = own;
    }
    add_own(m, &next, NULL);
}

/* The consumer's plugins on the request's route; NULL: none. */
static const struct tg_chains *own_chains(const struct tg_request *r,
                                          const struct tg_consumer *consumer)
{
    if (consumer->plugins == 0)
        return NULL;
    const struct tg_consumer_plugins *plugins =
        &r->snapshot->consumer_plugins[consumer->plugins - 1];
    for (uint32_t i = 0; i < plugins->route_count; i++) {
        if (plugins->routes[i].route == r->route->index)
            return plugins->routes[i].chains;
    }
    return plugins->chains;
}

static enum tg_err merge_phase(struct tg_request *r, enum tg_phase phase, struct merge *m,
                               struct tg_chain *out)
{
    size_t most = (size_t)m->base->n + m->own->n + m->ran.n;
    if (most == 0)
        return TG_OK;
    m->reversed = phase == TG_PHASE_HEADER_FILTER || phase == TG_PHASE_BODY_FILTER;
    m->out = tg_arena_alloc(&r->arena, most * sizeof(*m->out));
    if (m->out == NULL)
        return TG_E_NOMEM;
    merge(m);
    *out = (struct tg_chain){m->out, m->n};
    return TG_OK;
}

/* Puts `own` among the plugins of the route. */
static enum tg_err join(struct tg_request *r, const struct tg_chains *own)
{
    const struct tg_chains *base = r->route_chains != NULL ? r->route_chains : r->chains;
    struct tg_chains *joined = tg_arena_alloc(&r->arena, sizeof(*joined));
    if (joined == NULL)
        return TG_E_NOMEM;
    *joined = *base;
    for (unsigned i = 0; i < TG_PHASES; i++) {
        enum tg_phase phase = (enum tg_phase)i;
        struct merge m = {.base = &base->phase[i], .own = own != NULL ? &own->phase[i] : &no_chain};
        if (phase == TG_PHASE_ACCESS)
            m.ran = (struct tg_chain){r->chains->phase[i].v, r->plugins.next};
        else if (m.own->n == 0)
            continue; /* the route's as it is */
        enum tg_err err = merge_phase(r, phase, &m, &joined->phase[i]);
        if (err != TG_OK)
            return err;
    }
    joined->decodes = base->decodes || (own != NULL && own->decodes);
    r->route_chains = base;
    r->chains = joined;
    return TG_OK;
}

enum tg_err tg_request_authenticate(struct tg_request *r, const struct tg_consumer *consumer,
                                    struct tg_str credential)
{
    if (r->state != TG_REQUEST_ACCESS || r->route == NULL)
        return TG_E_UNAVAILABLE;
    const struct tg_chains *own = own_chains(r, consumer);
    struct tg_str copy = credential;
    if (credential.p != NULL && (copy = tg_arena_copy(&r->arena, credential)).p == NULL)
        return TG_E_NOMEM;
    if (own != NULL || r->route_chains != NULL) {
        enum tg_err err = join(r, own);
        if (err != TG_OK)
            return err;
    }
    r->consumer = consumer;
    r->credential = copy;
    return TG_OK;
}

enum tg_importance tg_request_importance(const struct tg_request *r)
{
    if (r->consumer != NULL && r->consumer->importance != 0)
        return (enum tg_importance)(r->consumer->importance - 1);
    return r->route->importance;
}

uint32_t tg_request_queue_priority(const struct tg_request *r)
{
    if (r->consumer != NULL && r->consumer->queue_priority != 0)
        return r->consumer->queue_priority - 1u;
    return r->route->queue_priority;
}

void tg_credential_write_name(enum tg_credential_kind kind, uint32_t nth, struct tg_fmt *out)
{
    tg_fmt_add(out, tg_str_c(tg_credential_kind_info(kind)->name));
    tg_fmt_char(out, ':');
    tg_fmt_u64(out, nth);
}

enum tg_err tg_request_recognise(struct tg_request *r, const struct tg_recognition *by)
{
    const struct tg_field *field = tg_fields_find(&r->in.fields, by->header);
    struct tg_consumer_match match;
    char room[32];
    struct tg_fmt f;
    if (field == NULL)
        return TG_E_NOT_FOUND;
    enum tg_err err = tg_consumer_find_by(r->snapshot->consumers, by->kind, field->value, &match);
    if (err != TG_OK)
        return err;
    tg_fmt_init(&f, room, sizeof(room));
    tg_credential_write_name(by->kind, match.nth, &f);
    return tg_request_authenticate(r, match.consumer, tg_fmt_str(&f));
}
