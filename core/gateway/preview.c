/* preview.c: see preview.h. The request that the rewriting works on is filled with what it reads:
 * route, path, query, captures and authority. */
#include "base/banned.h"
#include "gateway/preview.h"

#include "config/traffic.h"
#include "gateway/internal.h"
#include "http/uri.h"

static enum tg_err take_captures(struct tg_request *r, const struct tg_route_match *match)
{
    unsigned n = match->capture_count;
    r->capture_names = tg_arena_alloc(&r->arena, (2 * n + 1) * sizeof(*r->captures));
    if (r->capture_names == NULL)
        return TG_E_NOMEM;
    r->captures = r->capture_names + n;
    r->capture_count = n;
    for (unsigned i = 0; i < n; i++) {
        r->capture_names[i] = match->captures[i].name;
        r->captures[i] = match->captures[i].value;
    }
    r->matched = match->matched;
    return TG_OK;
}

static void fill(struct tg_request *r, const struct tg_preview_request *request)
{
    r->route = request->route;
    r->scheme = request->scheme;
    r->client_host = request->authority;
    r->in.path = request->path;
    r->in.query = request->query;
}

/* "/base/path?query", as the origin's request line has it. */
static enum tg_err make_target(struct tg_request *r, struct tg_str base, struct tg_str *out)
{
    struct tg_fmt f;
    struct tg_str query = r->out.query_set ? r->out.query : r->in.query;
    tg_fmt_init_arena(&f, &r->arena, r->out.path.n + base.n + query.n + 8);
    if (base.n == 0)
        tg_fmt_add(&f, r->out.path);
    else
        tg_rewrite_join(&f, base, r->out.path, r->in.path);
    if (query.p != NULL) {
        tg_fmt_char(&f, '?');
        tg_fmt_add(&f, query);
    }
    *out = tg_fmt_str(&f);
    return out->p != NULL ? TG_OK : TG_E_NOMEM;
}

static enum tg_err add_origin(struct tg_request *r, struct tg_preview *out,
                              const struct tg_service_conf *service, const char *role)
{
    struct tg_preview_origin *origin = &out->origins[out->origin_count];
    if (service == NULL || out->origin_count == TG_PREVIEW_ORIGINS_MAX)
        return TG_OK;
    out->origin_count++;
    origin->service = service;
    origin->role = role;
    return make_target(r, service->path, &origin->target);
}

static enum tg_err add_origins(struct tg_request *r, struct tg_preview *out)
{
    const struct tg_route_conf *route = r->route;
    enum tg_err err = add_origin(r, out, route->service, "service");
    for (uint32_t i = 0; err == TG_OK && route->split != NULL && i < route->split->n; i++)
        err = add_origin(r, out, route->split->choices[i].service, "split");
    if (err == TG_OK && route->canary != NULL)
        err = add_origin(r, out, route->canary->choice.service, "canary");
    if (err == TG_OK && route->mirror != NULL)
        err = add_origin(r, out, route->mirror->service, "mirror");
    return err;
}

static enum tg_err tell(struct tg_request *r, const struct tg_preview_request *request,
                        struct tg_preview *out)
{
    fill(r, request);
    enum tg_err err = take_captures(r, request->match);
    if (err == TG_OK && r->route->redirect != NULL)
        return tg_rewrite_location(r, &out->location);
    if (err == TG_OK)
        err = tg_rewrite_apply(r);
    if (err == TG_OK)
        err = add_origins(r, out);
    if (r->out.host.p != NULL)
        out->host = r->out.host;
    else if (r->route->preserve_host)
        out->host = request->authority;
    return err;
}

enum tg_err tg_preview(const struct tg_preview_request *request, struct tg_arena *arena,
                       struct tg_preview *out)
{
    struct tg_request *r = tg_arena_zalloc(arena, sizeof(*r));
    *out = (struct tg_preview){.origin_count = 0};
    if (r == NULL)
        return TG_E_NOMEM;
    r->arena = *arena; /* on loan: what is made below belongs to the caller's */
    enum tg_err err = tell(r, request, out);
    *arena = r->arena;
    return err;
}
