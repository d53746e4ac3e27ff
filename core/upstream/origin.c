/* origin.c: see origin.h. */
#include "base/banned.h"
#include "upstream/origin.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define LATENCY_TAU (10 * TG_USEC_PER_SEC) /* in which an old figure loses most of its weight */

#define RELAXED memory_order_relaxed

/* ---- The registry ------------------------------------------------------------------------------
 */

struct tg_registry *tg_registry_new(void)
{
    struct tg_registry *registry = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*registry));
    if (registry == NULL)
        return NULL;
    pthread_mutex_init(&registry->lock, NULL);
    tg_list_init(&registry->unheld);
    for (unsigned i = 0; i < TG_REGISTRY_BUCKETS; i++)
        tg_list_init(&registry->fleets[i]);
    registry->refs = 1;
    return registry;
}

static void free_origin(struct tg_origin *origin)
{
    tg_list_remove(&origin->link);
    tg_list_remove(&origin->unheld);
    pthread_mutex_destroy(&origin->lock);
    tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)origin->name.p);
    tg_mem_free(TG_MEM_CONNECTION, origin);
}

static void free_fleet(struct tg_fleet *fleet)
{
    TG_LIST_FOREACH(&fleet->origins, it)
    free_origin(TG_LIST_ENTRY(it, struct tg_origin, link));
    tg_list_remove(&fleet->link);
    pthread_mutex_destroy(&fleet->lock);
    tg_mem_free(TG_MEM_CONNECTION, (char *)(uintptr_t)fleet->name.p);
    tg_mem_free(TG_MEM_CONNECTION, fleet);
}

static void visit_all(struct tg_registry *registry,
                      void (*visit)(void *arg, struct tg_fleet *fleet), void *arg)
{
    for (unsigned i = 0; i < TG_REGISTRY_BUCKETS; i++) {
        TG_LIST_FOREACH(&registry->fleets[i], it)
        visit(arg, TG_LIST_ENTRY(it, struct tg_fleet, link));
    }
}

static void visit_last(void *arg, struct tg_fleet *fleet)
{
    (void)arg;
    free_fleet(fleet);
}

/* With the lock, which is given back. */
static void drop_reference(struct tg_registry *registry)
{
    bool last = --registry->refs == 0;
    pthread_mutex_unlock(&registry->lock);
    if (!last)
        return;
    visit_all(registry, visit_last, NULL);
    pthread_mutex_destroy(&registry->lock);
    tg_mem_free(TG_MEM_CONNECTION, registry);
}

void tg_registry_unref(struct tg_registry **registry)
{
    struct tg_registry *taken = *registry;
    *registry = NULL;
    if (taken == NULL)
        return;
    pthread_mutex_lock(&taken->lock);
    drop_reference(taken);
}

void tg_registry_visit(struct tg_registry *registry,
                       void (*visit)(void *arg, struct tg_fleet *fleet), void *arg)
{
    pthread_mutex_lock(&registry->lock);
    visit_all(registry, visit, arg);
    pthread_mutex_unlock(&registry->lock);
}

static struct tg_str own_copy(struct tg_str s)
{
    return tg_str(tg_mem_strndup(TG_MEM_CONNECTION, s.p, s.n), s.n);
}

/* ---- Fleets and origins ------------------------------------------------------------------------
 */

/* With the lock. */
static struct tg_fleet *find_fleet(struct tg_registry *registry, struct tg_str service)
{
    uint64_t hash = tg_hash_bytes(service.p, service.n);
    struct tg_list *bucket = &registry->fleets[hash % TG_REGISTRY_BUCKETS];
    TG_LIST_FOREACH(bucket, it)
    {
        struct tg_fleet *fleet = TG_LIST_ENTRY(it, struct tg_fleet, link);
        if (tg_str_eq(fleet->name, service))
            return fleet;
    }
    struct tg_fleet *fleet = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*fleet));
    if (fleet == NULL)
        return NULL;
    fleet->name = own_copy(service);
    if (fleet->name.p == NULL) {
        tg_mem_free(TG_MEM_CONNECTION, fleet);
        return NULL;
    }
    fleet->registry = registry;
    pthread_mutex_init(&fleet->lock, NULL);
    tg_list_init(&fleet->origins);
    tg_list_init(&fleet->names);
    tg_list_push_front(bucket, &fleet->link);
    return fleet;
}

struct tg_fleet *tg_fleet_ref(struct tg_registry *registry, struct tg_str service)
{
    pthread_mutex_lock(&registry->lock);
    struct tg_fleet *fleet = find_fleet(registry, service);
    if (fleet != NULL && fleet->holders++ == 0)
        registry->refs++;
    pthread_mutex_unlock(&registry->lock);
    return fleet;
}

void tg_fleet_unref(struct tg_fleet **fleetp)
{
    struct tg_fleet *fleet = *fleetp;
    *fleetp = NULL;
    if (fleet == NULL)
        return;
    struct tg_registry *registry = fleet->registry;
    pthread_mutex_lock(&registry->lock);
    tg_assert(fleet->holders > 0);
    if (--fleet->holders > 0) {
        pthread_mutex_unlock(&registry->lock);
        return;
    }
    if (tg_list_is_empty(&fleet->origins))
        free_fleet(fleet);
    drop_reference(registry);
}

/* With the lock: takes out an origin that nobody holds. */
static void expire_origin(struct tg_registry *registry, struct tg_origin *origin)
{
    struct tg_fleet *fleet = origin->fleet;
    if (origin->out & TG_OUT_EJECTED)
        atomic_fetch_sub_explicit(&fleet->ejected, 1, RELAXED);
    registry->unheld_count--;
    free_origin(origin);
    if (tg_list_is_empty(&fleet->origins) && fleet->holders == 0)
        free_fleet(fleet);
}

/* With the lock: lets go of what nobody has held for long, and of the oldest of too many. */
static void expire(struct tg_registry *registry, uint64_t now)
{
    while (registry->unheld_count > 0) {
        struct tg_origin *oldest = TG_LIST_ENTRY(registry->unheld.next, struct tg_origin, unheld);
        if (now < oldest->left + TG_ORIGIN_KEEP && registry->unheld_count <= TG_ORIGINS_MAX)
            return;
        expire_origin(registry, oldest);
    }
}

/* With the lock. */
static struct tg_origin *find_origin(struct tg_fleet *fleet, struct tg_str name, uint64_t now)
{
    bool first = tg_list_is_empty(&fleet->origins);
    TG_LIST_FOREACH(&fleet->origins, it)
    {
        struct tg_origin *origin = TG_LIST_ENTRY(it, struct tg_origin, link);
        if (tg_str_eq(origin->name, name))
            return origin;
    }
    struct tg_origin *origin = tg_mem_zalloc(TG_MEM_CONNECTION, 1, sizeof(*origin));
    if (origin == NULL)
        return NULL;
    origin->name = own_copy(name);
    if (origin->name.p == NULL) {
        tg_mem_free(TG_MEM_CONNECTION, origin);
        return NULL;
    }
    origin->fleet = fleet;
    origin->since = first ? 0 : now;
    pthread_mutex_init(&origin->lock, NULL);
    tg_list_init(&origin->unheld);
    tg_list_push_back(&fleet->origins, &origin->link);
    fleet->registry->unheld_count++; /* until the caller holds it */
    return origin;
}

struct tg_origin *tg_origin_ref(struct tg_fleet *fleet, struct tg_str name,
                                const struct tg_addr *addr, uint64_t now)
{
    struct tg_registry *registry = fleet->registry;
    pthread_mutex_lock(&registry->lock);
    struct tg_origin *origin = find_origin(fleet, name, now);
    if (origin != NULL) {
        if (origin->holders++ == 0)
            registry->unheld_count--;
        tg_list_remove(&origin->unheld);
        origin->addr = *addr;
    }
    expire(registry, now);
    pthread_mutex_unlock(&registry->lock);
    return origin;
}

struct tg_origin *tg_origin_hold(struct tg_origin *origin)
{
    struct tg_registry *registry = origin->fleet->registry;
    pthread_mutex_lock(&registry->lock);
    tg_assert(origin->holders > 0);
    origin->holders++;
    pthread_mutex_unlock(&registry->lock);
    return origin;
}

void tg_origin_unref(struct tg_origin **originp, uint64_t now)
{
    struct tg_origin *origin = *originp;
    *originp = NULL;
    if (origin == NULL)
        return;
    struct tg_registry *registry = origin->fleet->registry;
    pthread_mutex_lock(&registry->lock);
    tg_assert(origin->holders > 0);
    if (--origin->holders == 0) {
        origin->left = now;
        registry->unheld_count++;
        tg_list_push_back(&registry->unheld, &origin->unheld);
        expire(registry, now);
    }
    pthread_mutex_unlock(&registry->lock);
}

/* ---- Being out and in --------------------------------------------------------------------------
 */

static void tell_change(struct tg_origin *origin)
{
    atomic_fetch_add_explicit(&origin->fleet->changes, 1, memory_order_release);
}

static void take_out(struct tg_origin *origin, enum tg_out why)
{
    unsigned before = atomic_fetch_or_explicit(&origin->out, why, RELAXED);
    if (why == TG_OUT_EJECTED && !(before & TG_OUT_EJECTED))
        atomic_fetch_add_explicit(&origin->fleet->ejected, 1, RELAXED);
    if (!(before & why))
        tell_change(origin);
}

static void let_in(struct tg_origin *origin, enum tg_out why, uint64_t now)
{
    unsigned before = atomic_fetch_and_explicit(&origin->out, ~(unsigned)why, RELAXED);
    if (!(before & why))
        return;
    if (why == TG_OUT_EJECTED)
        atomic_fetch_sub_explicit(&origin->fleet->ejected, 1, RELAXED);
    if (before == (unsigned)why)
        atomic_store_explicit(&origin->since, now, RELAXED);
    tell_change(origin);
}

/* With the origin's lock. */
static void admit_what_waited(struct tg_origin *origin, const struct tg_policy *policy,
                              uint64_t now, uint64_t *next)
{
    if (origin->outlier.until > 0 && policy->outlier.failures == 0)
        origin->outlier.until = now; /* the configuration has no such check any more */
    if (origin->outlier.until > 0 && now >= origin->outlier.until) {
        tg_outlier_admit(&origin->outlier, now);
        let_in(origin, TG_OUT_EJECTED, now);
    } else if (origin->outlier.until > 0) {
        *next = TG_MIN(*next, origin->outlier.until);
    }
    if (!(origin->out & TG_OUT_BREAKER))
        return;
    uint64_t over = origin->breaker.since + policy->breaker.cooldown;
    if (policy->breaker.ratio <= 0 || origin->breaker.state != TG_BREAKER_OPEN || now >= over)
        let_in(origin, TG_OUT_BREAKER, now);
    else
        *next = TG_MIN(*next, over);
}

bool tg_origin_is_usable(struct tg_origin *origin, const struct tg_policy *policy, uint64_t now,
                         uint64_t *next)
{
    unsigned out = atomic_load_explicit(&origin->out, RELAXED);
    if (out & (TG_OUT_EJECTED | TG_OUT_BREAKER)) {
        pthread_mutex_lock(&origin->lock);
        admit_what_waited(origin, policy, now, next);
        pthread_mutex_unlock(&origin->lock);
        out = atomic_load_explicit(&origin->out, RELAXED);
    }
    return out == 0;
}

const char *tg_origin_label(const struct tg_origin *origin)
{
    unsigned out = atomic_load_explicit(&origin->out, RELAXED);
    if (out & TG_OUT_CHECK)
        return "down";
    if (out & TG_OUT_BREAKER)
        return "open";
    return out & TG_OUT_EJECTED ? "ejected" : "up";
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

bool tg_fleet_allow(struct tg_fleet *fleet, const struct tg_policy *policy, uint64_t now,
                    bool *probe)
{
    *probe = false;
    if (policy->breaker.ratio <= 0)
        return true;
    pthread_mutex_lock(&fleet->lock);
    bool allowed = tg_breaker_allow(&fleet->breaker, &policy->breaker, now, probe);
    pthread_mutex_unlock(&fleet->lock);
    return allowed;
}

bool tg_origin_allow(struct tg_origin *origin, const struct tg_policy *policy, uint64_t now,
                     bool *probe)
{
    *probe = false;
    if (policy->breaker.ratio <= 0)
        return true;
    pthread_mutex_lock(&origin->lock);
    bool allowed = tg_breaker_allow(&origin->breaker, &policy->breaker, now, probe);
    pthread_mutex_unlock(&origin->lock);
    return allowed;
}

static unsigned record_fleet(struct tg_fleet *fleet, const struct tg_policy *policy, uint64_t now,
                             const struct tg_try_outcome *outcome)
{
    bool opened = false;
    pthread_mutex_lock(&fleet->lock);
    if (outcome->told)
        opened = tg_breaker_record(&fleet->breaker, &policy->breaker, now, outcome->good,
                                   outcome->fleet_probe);
    else
        tg_breaker_cancel(&fleet->breaker, outcome->fleet_probe);
    pthread_mutex_unlock(&fleet->lock);
    return opened ? TG_CHANGE_FLEET : TG_CHANGE_NONE;
}

/* With the origin's lock. */
static unsigned record_breaker(struct tg_origin *origin, const struct tg_policy *policy,
                               uint64_t now, const struct tg_try_outcome *outcome)
{
    if (!outcome->told) {
        tg_breaker_cancel(&origin->breaker, outcome->origin_probe);
        return TG_CHANGE_NONE;
    }
    if (!tg_breaker_record(&origin->breaker, &policy->breaker, now, outcome->good,
                           outcome->origin_probe))
        return TG_CHANGE_NONE;
    take_out(origin, TG_OUT_BREAKER);
    return TG_CHANGE_OPENED;
}

/* With the origin's lock. */
static unsigned record_outlier(struct tg_origin *origin, const struct tg_policy *policy,
                               uint32_t targets, uint64_t now, const struct tg_try_outcome *outcome)
{
    const struct tg_outlier_conf *conf = &policy->outlier;
    bool slow = conf->latency > 0 && outcome->latency > conf->latency;
    uint32_t out = atomic_load_explicit(&origin->fleet->ejected, RELAXED);
    if (!tg_outlier_record(&origin->outlier, conf, now, outcome->good && !slow) ||
        !tg_outlier_has_room(conf, targets, out))
        return TG_CHANGE_NONE;
    tg_outlier_eject(&origin->outlier, conf, now);
    take_out(origin, TG_OUT_EJECTED);
    return TG_CHANGE_EJECTED;
}

unsigned tg_origin_record(struct tg_origin *origin, const struct tg_policy *policy,
                          uint32_t targets, uint64_t now, const struct tg_try_outcome *outcome)
{
    bool breaks = policy->breaker.ratio > 0;
    bool ejects = policy->outlier.failures > 0 && outcome->told;
    unsigned changes = TG_CHANGE_NONE;
    if (!breaks && !ejects)
        return changes;
    if (breaks)
        changes |= record_fleet(origin->fleet, policy, now, outcome);
    pthread_mutex_lock(&origin->lock);
    if (breaks)
        changes |= record_breaker(origin, policy, now, outcome);
    if (ejects)
        changes |= record_outlier(origin, policy, targets, now, outcome);
    pthread_mutex_unlock(&origin->lock);
    return changes;
}

/* Two workers may tell at once and one figure is lost: the next request makes up for it. */
void tg_origin_note_latency(struct tg_origin *origin, uint64_t latency, uint64_t now)
{
    uint64_t mean = atomic_load_explicit(&origin->latency, RELAXED);
    uint64_t at = atomic_load_explicit(&origin->latency_at, RELAXED);
    uint64_t age = now > at ? now - at : 0;
    if (latency >= mean) {
        mean = latency;
    } else {
        uint64_t weight = TG_MIN(age + LATENCY_TAU / 64, LATENCY_TAU);
        mean -= (mean - latency) * weight / LATENCY_TAU;
    }
    atomic_store_explicit(&origin->latency, TG_MAX(mean, 1u), RELAXED);
    atomic_store_explicit(&origin->latency_at, now, RELAXED);
}

void tg_origin_note_at_least(struct tg_origin *origin, uint64_t latency, uint64_t now)
{
    if (latency > tg_origin_latency(origin, now))
        tg_origin_note_latency(origin, latency, now);
}

uint64_t tg_origin_latency(const struct tg_origin *origin, uint64_t now)
{
    uint64_t at = atomic_load_explicit(&origin->latency_at, RELAXED);
    uint64_t mean = atomic_load_explicit(&origin->latency, RELAXED);
    uint64_t age = now > at ? now - at : 0;
    if (age < LATENCY_TAU)
        return mean;
    return mean >> TG_MIN(age / LATENCY_TAU, 63u);
}

/* ---- Health ------------------------------------------------------------------------------------
 */

bool tg_origin_note_check(struct tg_origin *origin, const struct tg_check_conf *conf, uint64_t now,
                          bool good, const char *reason)
{
    pthread_mutex_lock(&origin->lock);
    bool down = (origin->out & TG_OUT_CHECK) != 0;
    origin->good = good ? origin->good + 1 : 0;
    origin->bad = good ? 0 : origin->bad + 1;
    if (!good)
        snprintf(origin->check_reason, sizeof(origin->check_reason), "%s", reason);
    /* The first check of all decides alone: nobody waits for `fall` of them at the start. */
    bool falls = !down && !good && (origin->bad >= conf->fall || !origin->checked);
    bool rises = down && good && origin->good >= conf->rise;
    origin->checked = true;
    if (falls)
        take_out(origin, TG_OUT_CHECK);
    if (rises)
        let_in(origin, TG_OUT_CHECK, now);
    pthread_mutex_unlock(&origin->lock);
    return falls || rises;
}

void tg_origin_forget_check(struct tg_origin *origin, uint64_t now)
{
    pthread_mutex_lock(&origin->lock);
    origin->checked = false;
    origin->good = origin->bad = 0;
    let_in(origin, TG_OUT_CHECK, now);
    pthread_mutex_unlock(&origin->lock);
}
