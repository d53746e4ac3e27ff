/* shape.c: which of several services a request goes to: canary, then split.
 *
 * Decided when the route is known, before its access plugins run, so that they, the plugins of the
 * chosen service and the access log all see the same service; where the consumer is the key, after
 * them, and the services have no plugins of their own then. A plugin that calls ctx:set_service()
 * has the last word.
 *
 * Sticky without a key (no such cookie or header, nobody's request): by chance, as if nothing were
 * sticky.
 */
#include "base/banned.h"
#include "gateway/internal.h"

#include "config/traffic.h"
#include "consumer/store.h"
#include "gateway/param.h"

/* The key of a request; empty: it has none. `room` holds an address's text. */
static struct tg_str key_of(const struct tg_request *r, const struct tg_sticky_conf *sticky,
                            char room[TG_ADDR_TEXT_MAX])
{
    const struct tg_field *field;
    struct tg_str cookie;
    switch (sticky->by) {
    case TG_STICKY_COOKIE:
        cookie = tg_param_cookie(r, sticky->name);
        return cookie.p != NULL ? cookie : TG_STR("");
    case TG_STICKY_HEADER:
        field = tg_fields_find(&r->in.fields, sticky->name);
        return field != NULL ? field->value : TG_STR("");
    case TG_STICKY_IP:
        return tg_addr_ip_text(&r->client, room);
    case TG_STICKY_CONSUMER:
        return r->consumer != NULL ? r->consumer->name : TG_STR("");
    case TG_STICKY_NONE:
        break;
    }
    return TG_STR("");
}

static uint64_t chance(struct tg_request *r)
{
    return tg_rand_u64(&r->gate->worker->rand);
}

bool tg_shape_takes(struct tg_request *r, uint32_t percent)
{
    return percent >= TG_SPLIT_WHOLE || (percent > 0 && chance(r) % TG_SPLIT_WHOLE < percent);
}

static bool is_canary(struct tg_request *r, const struct tg_canary_conf *canary)
{
    char room[TG_ADDR_TEXT_MAX];
    if (canary->header.n > 0) {
        const struct tg_field *field = tg_fields_find(&r->in.fields, canary->header);
        if (field != NULL && (canary->value.n == 0 || tg_str_eq(field->value, canary->value)))
            return true;
    }
    struct tg_str key = key_of(r, &canary->sticky, room);
    return key.n > 0 ? tg_split_takes(canary->seed, canary->percent, key)
                     : tg_shape_takes(r, canary->percent);
}

static const struct tg_choice_conf *split(struct tg_request *r, const struct tg_split_conf *conf)
{
    char room[TG_ADDR_TEXT_MAX];
    struct tg_str key = key_of(r, &conf->sticky, room);
    uint32_t i = key.n > 0 ? tg_split_by_key(conf->shares, conf->n, key)
                           : tg_split_by_chance(conf->shares, conf->n, chance(r));
    return &conf->choices[i];
}

void tg_shape_choose(struct tg_request *r)
{
    const struct tg_route_conf *route = r->route;
    const struct tg_choice_conf *choice = NULL;
    if (route->canary != NULL && is_canary(r, route->canary))
        choice = &route->canary->choice;
    else if (route->split != NULL)
        choice = split(r, route->split);
    if (choice == NULL)
        return;
    r->service = choice->service;
    if (!route->chooses_late)
        r->chains = choice->chains[r->listener->index];
}
