/* quota.c: see quota.h.
 *
 * Keys are written one after the other into the request's arena before the first question: a
 * verdict must not depend on what a later key lacks. The answer's headers are recorded as edits of
 * it, as a plugin would have; their names are identified once for the process.
 */
#include "base/banned.h"
#include "gateway/quota.h"

#include "base/assert.h"
#include "gateway/gate.h"
#include "gateway/vm_set.h"
#include "gateway/wait.h"
#include "http/token.h"
#include "limit/table.h"

#include <math.h>

/* One rule's state while a request is asked. */
struct asked {
    bool applies;
    bool judged; /* verdict is set */
    bool taken;
    struct tg_str key;
    struct tg_rate_verdict verdict;
    struct permit *permit; /* NULL: nothing is in flight */
};

struct question {
    const struct tg_quota *quota;
    struct tg_request *r;
    struct tg_plugin_slot *slot;
    struct tg_zone *zone; /* borrowed */
    struct tg_limit_table *table;
    struct tg_quota_outcome *outcome;
    struct asked *of; /* by rule; in the arena */
};

/* ---- Keys ------------------------------------------------------------------------------------ */

/* The number at the beginning of *text, from 1 to `max`, which is cut off; 0: there is none. */
static unsigned cut_length(struct tg_str *text, unsigned max)
{
    size_t n = 0;
    uint64_t value;
    while (n < text->n && text->p[n] >= '0' && text->p[n] <= '9')
        n++;
    if (n > 3 || !tg_str_to_u64(tg_str_sub(*text, 0, n), &value) || value > max)
        return 0;
    *text = tg_str_sub(*text, n, text->n);
    return (unsigned)value;
}

/* "ip", "ip/24", "ip/24/56". Of IPv6 a subscriber has a network, so by default its /64 counts. */
static bool parse_ip(struct tg_str text, struct tg_quota_key *out)
{
    unsigned lengths[2] = {32, 64};
    const unsigned most[2] = {32, 128};
    struct tg_str rest = tg_str_sub(text, 2, text.n);
    for (unsigned i = 0; i < 2 && rest.n > 0; i++) {
        if (rest.p[0] != '/')
            return false;
        rest = tg_str_sub(rest, 1, rest.n);
        lengths[i] = cut_length(&rest, most[i]);
        if (lengths[i] == 0)
            return false;
    }
    out->fact = TG_QUOTA_IP;
    out->v4 = (uint8_t)lengths[0];
    out->v6 = (uint8_t)lengths[1];
    return rest.n == 0;
}

/* "header:NAME", "shared:PLUGIN.KEY". */
static bool parse_named(struct tg_str text, struct tg_quota_key *out)
{
    struct tg_str name = tg_str_sub(text, 7, text.n);
    if (tg_str_starts(text, TG_STR("header:"))) {
        out->fact = TG_QUOTA_HEADER;
        out->header = (struct tg_field){.name = name};
        tg_field_identify(&out->header);
        return tg_str_is_token(name);
    }
    size_t dot = tg_str_find(name, '.', 0);
    out->fact = TG_QUOTA_SHARED;
    out->shared = name;
    return tg_str_starts(text, TG_STR("shared:")) && dot > 0 && dot + 1 < name.n;
}

bool tg_quota_key_parse(struct tg_str text, struct tg_quota_key *out)
{
    static const struct {
        struct tg_str text;
        enum tg_quota_fact fact;
    } plain[] = {{{"all", 3}, TG_QUOTA_ALL},
                 {{"consumer", 8}, TG_QUOTA_CONSUMER},
                 {{"credential", 10}, TG_QUOTA_CREDENTIAL},
                 {{"route", 5}, TG_QUOTA_ROUTE},
                 {{"service", 7}, TG_QUOTA_SERVICE}};
    *out = (struct tg_quota_key){.text = text};
    for (size_t i = 0; i < TG_COUNT_OF(plain); i++) {
        out->fact = plain[i].fact;
        if (tg_str_eq(text, plain[i].text))
            return true;
    }
    return tg_str_starts(text, TG_STR("ip")) ? parse_ip(text, out) : parse_named(text, out);
}

/* The first `bits` of an address of one of both families. */
static void write_network(struct tg_fmt *f, const struct tg_addr *addr, unsigned v4, unsigned v6)
{
    size_t size;
    const unsigned char *ip = tg_addr_ip_bytes(addr, &size);
    unsigned bits = size == 4 ? v4 : v6;
    if (addr->len == 0)
        return; /* of a unix socket: all that come by it together */
    tg_fmt_char(f, size == 4 ? '4' : '6');
    for (size_t i = 0; i < size && bits > 0; i++) {
        unsigned kept = TG_MIN(bits, 8u);
        tg_fmt_char(f, (char)(ip[i] & (0xff00u >> kept)));
        bits -= kept;
    }
}

static struct tg_str shared_text(const struct tg_request *r, struct tg_str key, char *room,
                                 size_t size)
{
    struct tg_str text = {NULL, 0};
    const struct tg_shared_value *value = r->shared;
    while (value != NULL && !tg_str_eq(value->key, key))
        value = value->next;
    if (value != NULL)
        text = tg_marshal_scalar(tg_str(value->blob.p, value->blob.n), room, size);
    return text;
}

/* The text that the request has for `key`, which is not its address; p == NULL: none. */
static struct tg_str fact_of(const struct tg_request *r, const struct tg_quota_key *key, char *room,
                             size_t size)
{
    static const struct tg_str none = {NULL, 0};
    const struct tg_field *field;
    switch (key->fact) {
    case TG_QUOTA_CONSUMER:
    case TG_QUOTA_CREDENTIAL:
        return r->consumer != NULL ? r->consumer->name : none;
    case TG_QUOTA_ROUTE:
        return r->route != NULL ? r->route->name : none;
    case TG_QUOTA_SERVICE:
        return r->service != NULL ? r->service->name : none;
    case TG_QUOTA_HEADER:
        field = tg_fields_next_field(&r->in.fields, &key->header, NULL);
        return field != NULL ? field->value : none;
    case TG_QUOTA_SHARED:
        return shared_text(r, key->shared, room, size);
    case TG_QUOTA_ALL:
    case TG_QUOTA_IP:
        break;
    }
    return TG_STR("");
}

/* Writes what stands for `key`; false when the request has no such thing and counts by nothing
 * else. */
static bool write_fact(struct tg_fmt *f, const struct tg_request *r, const struct tg_quota_key *key,
                       enum tg_quota_absent absent)
{
    char room[32];
    struct tg_str text = fact_of(r, key, room, sizeof(room));
    bool credential = key->fact == TG_QUOTA_CREDENTIAL;
    bool there = text.p != NULL && !(credential && r->credential.p == NULL);
    if (!there && (absent == TG_QUOTA_SKIP || absent == TG_QUOTA_REFUSE))
        return false;
    tg_fmt_char(f, there ? '=' : '!');
    if (!there && absent == TG_QUOTA_BY_IP)
        write_network(f, &r->client, 32, 64);
    if (!there)
        return true;
    if (key->fact == TG_QUOTA_IP)
        write_network(f, &r->client, key->v4, key->v6);
    tg_fmt_add(f, text);
    if (credential) {
        tg_fmt_char(f, '\0');
        tg_fmt_add(f, r->credential);
    }
    return true;
}

/* Writes what stands for several keys, each with its length in front; NULL, or which one lacks. */
static const struct tg_quota_key *write_facts(struct tg_fmt *f, struct tg_request *r,
                                              const struct tg_quota_rule *rule)
{
    for (uint32_t i = 0; i < rule->key_count; i++) {
        struct tg_fmt part;
        tg_fmt_init_arena(&part, &r->arena, 64);
        if (!write_fact(&part, r, &rule->keys[i], rule->absent))
            return &rule->keys[i];
        f->failed |= part.failed;
        tg_fmt_u64(f, part.n);
        tg_fmt_char(f, ':');
        tg_fmt_add(f, tg_str(part.p, part.n));
    }
    return NULL;
}

/* Works out what is counted under the rule; NULL, or which key the request lacks. */
static const struct tg_quota_key *write_key(struct question *q, uint32_t i)
{
    const struct tg_quota_rule *rule = &q->quota->v[i];
    const struct tg_quota_key *missing = NULL;
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &q->r->arena, rule->prefix.n + 64);
    tg_fmt_add(&f, rule->prefix);
    if (rule->key_count > 1)
        missing = write_facts(&f, q->r, rule);
    else if (!write_fact(&f, q->r, &rule->keys[0], rule->absent))
        missing = &rule->keys[0];
    if (f.failed)
        q->outcome->err = TG_E_NOMEM;
    q->of[i].key = tg_str(f.p, f.n);
    q->of[i].applies = missing == NULL;
    return missing;
}

/* False: the request lacks what it is to be counted by, or there was no memory. */
static bool write_keys(struct question *q)
{
    for (uint32_t i = 0; i < q->quota->n; i++) {
        const struct tg_quota_key *missing = write_key(q, i);
        if (missing != NULL && q->quota->v[i].absent == TG_QUOTA_REFUSE && !q->quota->dry_run) {
            q->outcome->missing = missing;
            return false;
        }
    }
    return q->outcome->err == TG_OK;
}

/* ---- What the answer tells ------------------------------------------------------------------- */

static struct tg_field told[] = {{.name = {"ratelimit-policy", 16}},
                                 {.name = {"ratelimit", 9}},
                                 {.name = {"x-ratelimit-limit", 17}},
                                 {.name = {"x-ratelimit-remaining", 21}},
                                 {.name = {"x-ratelimit-reset", 17}}};

enum { POLICY, STATE, X_LIMIT, X_REMAINING, X_RESET };

__attribute__((constructor)) static void identify_told(void)
{
    for (size_t i = 0; i < TG_COUNT_OF(told); i++)
        tg_field_identify(&told[i]);
}

void tg_quota_write_policy(const struct tg_quota_rule *rule, struct tg_fmt *f)
{
    tg_fmt_char(f, '"');
    tg_fmt_add(f, rule->name);
    tg_fmt_lit(f, "\";q=");
    tg_fmt_u64(f, rule->in_flight ? rule->flight.max : rule->rate.limit);
    if (rule->in_flight) {
        tg_fmt_lit(f, ";qu=\"concurrent-requests\"");
    } else if (rule->rate.per % TG_USEC_PER_SEC == 0) {
        tg_fmt_lit(f, ";w=");
        tg_fmt_u64(f, rule->rate.per / TG_USEC_PER_SEC);
    }
}

/* Seconds as headers write them: never earlier than it is. */
static uint64_t whole_seconds(uint64_t us)
{
    return us / TG_USEC_PER_SEC + (us % TG_USEC_PER_SEC != 0);
}

/* When more is granted: for a refusal, as Retry-After says. */
static uint64_t until_more(const struct tg_rate_verdict *verdict)
{
    return whole_seconds(verdict->allowed ? verdict->reset : verdict->retry);
}

static void tell_field(struct question *q, enum tg_edit_kind kind, unsigned which,
                       struct tg_str value)
{
    struct tg_field field = told[which];
    field.value = value;
    if (value.p == NULL || tg_request_apply_field(q->r, kind, &field) != TG_OK)
        q->outcome->err = TG_E_NOMEM;
}

static void tell_number(struct question *q, unsigned which, uint64_t value)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &q->r->arena, 24);
    tg_fmt_u64(&f, value);
    tell_field(q, TG_EDIT_SET, which, tg_fmt_str(&f));
}

static void tell_ratelimit(struct question *q)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &q->r->arena, 64);
    for (uint32_t i = 0; i < q->quota->n; i++) {
        const struct tg_rate_verdict *verdict = &q->of[i].verdict;
        if (!q->of[i].judged)
            continue;
        tg_fmt_add(&f, f.n > 0 ? TG_STR(", \"") : TG_STR("\""));
        tg_fmt_add(&f, q->quota->v[i].name);
        tg_fmt_lit(&f, "\";r=");
        tg_fmt_u64(&f, verdict->remaining);
        tg_fmt_lit(&f, ";t=");
        tg_fmt_u64(&f, until_more(verdict));
    }
    tell_field(q, TG_EDIT_ADD, POLICY, q->quota->policies);
    if (f.n > 0 || f.failed)
        tell_field(q, TG_EDIT_ADD, STATE, tg_fmt_str(&f));
}

/* Of the limit of which the least share is left. */
static void tell_x_ratelimit(struct question *q)
{
    double least = HUGE_VAL;
    uint32_t found = q->quota->n;
    for (uint32_t i = 0; i < q->quota->n; i++) {
        double share = (double)q->of[i].verdict.remaining / q->quota->v[i].most;
        if (!q->of[i].judged || share >= least)
            continue;
        least = share;
        found = i;
    }
    if (found == q->quota->n)
        return;
    tell_number(q, X_LIMIT, q->quota->v[found].most);
    tell_number(q, X_REMAINING, q->of[found].verdict.remaining);
    tell_number(q, X_RESET, until_more(&q->of[found].verdict));
}

static void tell(struct question *q)
{
    if (q->quota->dry_run)
        return;
    if (q->quota->ratelimit)
        tell_ratelimit(q);
    if (q->quota->x_ratelimit)
        tell_x_ratelimit(q);
}

/* ---- Work in flight -------------------------------------------------------------------------- */

struct permit {
    struct tg_held hold; /* in the slot's list */
    const struct tg_request *r;
    struct tg_zone *zone; /* one reference */
    struct tg_limit_ticket ticket;
};

static uint64_t now_of(const struct tg_request *r)
{
    return tg_loop_now(&tg_gate_worker(r->gate)->loop);
}

static void give_back(struct permit *permit, bool failed)
{
    tg_limit_table_leave(tg_zone_limits(permit->zone), &permit->ticket, failed, now_of(permit->r));
    tg_zone_unref(&permit->zone);
}

/* The request is over: an answer of 500 and above is a failure. */
static void on_release(struct tg_held *hold)
{
    struct permit *permit = TG_CONTAINER_OF(hold, struct permit, hold);
    give_back(permit, permit->r->resp.status >= 500);
}

static void leave_all(struct question *q)
{
    for (uint32_t i = 0; i < q->quota->n; i++) {
        struct permit *permit = q->of[i].permit;
        if (permit == NULL)
            continue;
        tg_held_remove(&permit->hold);
        give_back(permit, false);
        q->of[i].permit = NULL;
    }
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* Rule `i` refuses; whether that ends it. */
static bool refuse(struct question *q, uint32_t i, uint64_t retry)
{
    q->outcome->refused |= 1u << i;
    if (q->quota->dry_run)
        return false;
    q->outcome->retry = retry;
    return true;
}

/* The functions below say whether to go on. */

static bool ask(struct question *q, uint32_t i, uint32_t cost)
{
    struct asked *one = &q->of[i];
    enum tg_err err = tg_limit_table_take(q->table, &q->quota->v[i].rate, one->key, cost,
                                          now_of(q->r), &one->verdict);
    one->judged = err == TG_OK;
    q->outcome->err = err;
    return err == TG_OK;
}

static bool take(struct question *q, uint32_t i)
{
    if (!ask(q, i, q->quota->v[i].cost))
        return false;
    q->of[i].taken = true;
    return q->of[i].verdict.allowed || !refuse(q, i, q->of[i].verdict.retry);
}

/* Those that are used up refuse before the others are charged. */
static bool look_first(struct question *q)
{
    uint32_t used_up = q->quota->n;
    for (uint32_t i = 0; i < q->quota->n; i++) {
        if (!q->of[i].applies || q->quota->v[i].in_flight)
            continue;
        if (!ask(q, i, 0))
            return false;
        if (q->of[i].verdict.remaining < q->quota->v[i].cost)
            used_up = TG_MIN(used_up, i);
    }
    return used_up == q->quota->n || take(q, used_up);
}

static bool enter(struct question *q, uint32_t i)
{
    struct permit *permit = tg_arena_zalloc(&q->r->arena, sizeof(*permit));
    enum tg_err err = TG_E_NOMEM;
    if (permit != NULL)
        err = tg_limit_table_enter(q->table, &q->quota->v[i].flight, q->of[i].key, now_of(q->r),
                                   &permit->ticket);
    if (err == TG_E_AGAIN)
        return !refuse(q, i, 0);
    q->outcome->err = err;
    if (err != TG_OK)
        return false;
    permit->r = q->r;
    permit->zone = tg_zone_ref(q->zone);
    permit->hold.lasts = true;
    permit->hold.release = on_release;
    tg_list_push_back(&q->slot->held, &permit->hold.link);
    q->of[i].permit = permit;
    return true;
}

static bool ask_all(struct question *q)
{
    if (!write_keys(q))
        return false;
    if (q->quota->n > 1 && !look_first(q))
        return false;
    for (uint32_t i = 0; i < q->quota->n; i++) {
        if (q->of[i].applies && q->quota->v[i].in_flight && !enter(q, i))
            return false;
    }
    for (uint32_t i = 0; i < q->quota->n; i++) {
        if (q->of[i].applies && !q->quota->v[i].in_flight && !q->of[i].taken && !take(q, i))
            return false;
    }
    return true;
}

/* The zone as the configuration in force has it; NULL: it has none of that name any more. */
static struct tg_zone *zone_of(const struct tg_quota *quota, const struct tg_vm_entry *entry)
{
    const struct tg_vm_set *set = entry->host.set;
    if (quota->zone.p == NULL)
        return entry->limit;
    for (uint32_t i = 0; i < set->snapshot->zone_count; i++) {
        const struct tg_zone_conf *conf = &set->snapshot->zones[i];
        if (conf->kind == TG_ZONE_LIMIT && tg_str_eq(conf->name, quota->zone))
            return set->zones[i];
    }
    return NULL;
}

static void put(struct question *q)
{
    q->zone = zone_of(q->quota, q->slot->entry);
    if (q->zone == NULL) {
        q->outcome->err = TG_E_NOT_FOUND;
        return;
    }
    q->table = tg_zone_limits(q->zone);
    bool passes = ask_all(q);
    if (!passes)
        leave_all(q);
    if (q->outcome->err == TG_OK && q->outcome->missing == NULL)
        tell(q);
}

struct tg_quota_outcome *tg_quota_take(const struct tg_quota *quota, struct tg_request *r,
                                       struct tg_plugin_slot *slot)
{
    struct tg_quota_outcome *outcome = r->quotas;
    while (outcome != NULL && outcome->quota != quota)
        outcome = outcome->next;
    if (outcome != NULL)
        return outcome;
    outcome = tg_arena_zalloc(&r->arena, sizeof(*outcome));
    if (outcome == NULL)
        return NULL;
    outcome->quota = quota;
    outcome->next = r->quotas;
    r->quotas = outcome;
    struct question q = {.quota = quota, .r = r, .slot = slot, .outcome = outcome};
    q.of = tg_arena_zalloc(&r->arena, quota->n * sizeof(*q.of));
    if (q.of == NULL)
        outcome->err = TG_E_NOMEM;
    else
        put(&q);
    return outcome;
}
