/* rewrite.c: path, query and host as a route wants them for its service, and where redirects lead.
 *
 * What a capture brings is written by http/template.h, which escapes it for the place it goes to.
 * One thing cannot be escaped away: a template may put captures together so that a segment becomes
 * ".." ("/{1}{2}/x" where each is a dot). Such a path is refused: it would lead above what the
 * operator wrote.
 */
#include "base/banned.h"
#include "gateway/internal.h"

#include "config/traffic.h"
#include "gateway/param.h"
#include "http/uri.h"

/* What `name` captured, as it stands in the path; a number counts captures from 1. */
static struct tg_str capture(const struct tg_request *r, struct tg_str name)
{
    uint64_t nth;
    for (uint32_t i = 0; i < r->capture_count; i++) {
        if (tg_str_eq(r->capture_names[i], name))
            return r->captures[i];
    }
    if (tg_str_to_u64(name, &nth) && nth >= 1 && nth <= r->capture_count)
        return r->captures[nth - 1];
    return TG_STR("");
}

static void render(const struct tg_request *r, const struct tg_template *template,
                   void (*put)(struct tg_fmt *f, struct tg_str value), struct tg_fmt *f)
{
    for (uint32_t i = 0; i < template->n; i++) {
        const struct tg_template_part *part = &template->parts[i];
        if (part->is_name)
            put(f, capture(r, part->text));
        else
            tg_fmt_add(f, part->text);
    }
}

/* What the pattern did not match. Behind an expression that ended in the middle of a segment, what
 * is left of that may be "..": it is left out, since nothing leads above what takes the prefix's
 * place.
 */
static struct tg_str rest_of(const struct tg_request *r)
{
    struct tg_str rest = tg_str_sub(r->in.path, r->matched, r->in.path.n);
    size_t end = tg_str_find(rest, '/', 0);
    return tg_path_has_dots(tg_str_sub(rest, 0, end)) ? tg_str_sub(rest, end, rest.n) : rest;
}

/* Behind a prefix: what the pattern did not match, joined with exactly one slash. */
static void add_rest(struct tg_fmt *f, struct tg_str rest)
{
    if (rest.n > 0 && f->n > 0 && f->p[f->n - 1] == '/')
        f->n--;
    if (rest.n > 0 && rest.p[0] != '/')
        tg_fmt_char(f, '/');
    tg_fmt_add(f, rest);
    if (f->n == 0)
        tg_fmt_char(f, '/');
}

/* The path that `conf` makes of the request's, into *out; the request's own where it says nothing.
 */
static enum tg_err make_path(struct tg_request *r, const struct tg_path_conf *conf, bool strip,
                             struct tg_str *out)
{
    struct tg_fmt f;
    *out = r->in.path;
    if (!conf->path.set && !conf->prefix.set && !strip)
        return TG_OK;
    struct tg_str rest = rest_of(r);
    if (strip && rest.n > 0 && rest.p[0] == '/') {
        *out = rest; /* the common case needs no copy */
        return TG_OK;
    }
    tg_fmt_init_arena(&f, &r->arena, r->in.path.n + 64);
    if (conf->path.set) {
        render(r, &conf->path, tg_template_put_path, &f);
    } else {
        render(r, &conf->prefix, tg_template_put_path, &f);
        add_rest(&f, rest);
    }
    *out = tg_fmt_str(&f);
    if (out->p == NULL)
        return TG_E_NOMEM;
    return tg_path_has_dots(*out) ? TG_E_INVALID : TG_OK;
}

/* The query likewise; p == NULL: none. */
static enum tg_err make_query(struct tg_request *r, const struct tg_path_conf *conf,
                              struct tg_str *out)
{
    struct tg_fmt f;
    *out = r->in.query;
    if (!conf->query.set)
        return TG_OK;
    *out = (struct tg_str){NULL, 0};
    if (conf->query.n == 0)
        return TG_OK;
    tg_fmt_init_arena(&f, &r->arena, 64);
    render(r, &conf->query, tg_template_put_query, &f);
    *out = tg_fmt_str(&f);
    return out->p != NULL ? TG_OK : TG_E_NOMEM;
}

static enum tg_err make_host(struct tg_request *r, const struct tg_template *template)
{
    struct tg_fmt f;
    struct tg_str name;
    uint16_t port;
    tg_fmt_init_arena(&f, &r->arena, 64);
    render(r, template, tg_template_put_host, &f);
    r->out.host = tg_fmt_str(&f);
    if (r->out.host.p == NULL)
        return TG_E_INVALID;
    return tg_uri_split_authority(r->out.host, &name, &port);
}

static void strip_prefix(struct tg_request *r)
{
    struct tg_str prefix = r->route->strip_prefix;
    struct tg_str path = r->in.path;
    if (r->out.path.p != NULL)
        return; /* a plugin chose one */
    r->out.path = path;
    if (prefix.n == 0 || !tg_str_starts(path, prefix) ||
        (path.n > prefix.n && path.p[prefix.n] != '/'))
        return;
    r->out.path = path.n > prefix.n ? tg_str_sub(path, prefix.n, path.n) : TG_STR("/");
}

enum tg_err tg_rewrite_apply(struct tg_request *r)
{
    const struct tg_rewrite_conf *conf = r->route->rewrite;
    enum tg_err err = TG_OK;
    if (conf == NULL || r->route->strip_prefix.n > 0)
        strip_prefix(r);
    else if (r->out.path.p == NULL) /* else a plugin chose one */
        err = make_path(r, &conf->path, conf->strip_matched, &r->out.path);
    if (conf == NULL)
        return TG_OK;
    if (err == TG_OK && conf->path.query.set && !r->out.query_set) {
        err = make_query(r, &conf->path, &r->out.query);
        r->out.query_set = true;
    }
    if (err == TG_OK && conf->host.set)
        err = make_host(r, &conf->host);
    return err;
}

void tg_rewrite_join(struct tg_fmt *f, struct tg_str base, struct tg_str path, struct tg_str asked)
{
    bool slash = base.n > 1 && base.p[base.n - 1] == '/';
    struct tg_str front = slash || base.n == 1 ? tg_str_sub(base, 0, base.n - 1) : base;
    tg_fmt_add(f, front);
    if (path.n > 1 || front.n == 0) {
        tg_fmt_add(f, path);
        return;
    }
    if (asked.n > 1)
        slash = asked.p[asked.n - 1] == '/';
    if (slash)
        tg_fmt_char(f, '/');
}

/* ---- Redirects ---------------------------------------------------------------------------------
 */

static uint16_t own_port(struct tg_str scheme)
{
    return tg_str_eq(scheme, TG_STR("https")) ? 443 : 80;
}

/* Scheme, host and port; nothing when no host is known: the client goes on where it is. */
static void add_authority(struct tg_request *r, struct tg_fmt *f)
{
    const struct tg_redirect_conf *conf = r->route->redirect;
    struct tg_str scheme = conf->scheme.n > 0 ? conf->scheme : r->scheme;
    uint16_t port;
    struct tg_str host = tg_param_host(r, &port);
    if (conf->host.n > 0)
        host = conf->host;
    if (conf->port > 0 || conf->scheme.n > 0)
        port = conf->port;
    if (host.n == 0)
        return;
    tg_fmt_add(f, scheme);
    tg_fmt_lit(f, "://");
    tg_fmt_add(f, host);
    if (port != 0 && port != own_port(scheme)) {
        tg_fmt_char(f, ':');
        tg_fmt_u64(f, port);
    }
}

enum tg_err tg_rewrite_location(struct tg_request *r, struct tg_str *out)
{
    const struct tg_path_conf *conf = &r->route->redirect->path;
    struct tg_str path;
    struct tg_str query = {NULL, 0};
    struct tg_fmt f;
    enum tg_err err = make_path(r, conf, false, &path);
    if (err == TG_OK)
        err = make_query(r, conf, &query);
    if (err != TG_OK)
        return err;
    tg_fmt_init_arena(&f, &r->arena, path.n + query.n + 128);
    add_authority(r, &f);
    while (f.n == 0 && path.n > 1 && path.p[1] == '/')
        path = tg_str_sub(path, 1, path.n); /* "//name" would be another host */
    tg_fmt_add(&f, path);
    if (query.p != NULL) {
        tg_fmt_char(&f, '?');
        tg_fmt_add(&f, query);
    }
    *out = tg_fmt_str(&f);
    return out->p != NULL ? TG_OK : TG_E_NOMEM;
}
