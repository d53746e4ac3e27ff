/* answer.c: answers of the gateway's own.
 *
 * Errors are problem details (RFC 9457): they name the kind of failure and the request, nothing of
 * what stands behind the gateway. */
#include "base/banned.h"
#include "gateway/internal.h"

#include "base/json.h"
#include "config/traffic.h"
#include "http/head.h"

struct tg_str tg_answer_problem(struct tg_request *r, unsigned status, const char *code,
                                struct tg_str detail, struct tg_str plugin)
{
    struct tg_fmt f;
    struct tg_json j;
    tg_fmt_init_arena(&f, &r->arena, 192);
    tg_json_init(&j, &f);
    tg_json_begin_object(&j);
    tg_json_field_str(&j, "title", tg_str_c(tg_status_reason(status)));
    tg_json_field_u64(&j, "status", status);
    tg_json_field_str(&j, "code", tg_str_c(code));
    if (detail.n > 0)
        tg_json_field_str(&j, "detail", detail);
    tg_json_field_str(&j, "request_id", tg_str(r->id, sizeof(r->id)));
    if (plugin.n > 0)
        tg_json_field_str(&j, "plugin", plugin);
    tg_json_end_object(&j);
    tg_fmt_char(&f, '\n');
    return tg_fmt_str(&f);
}

/* Answers with `body` of `type`; false when there is no memory for it. */
static bool prepare(struct tg_request *r, unsigned status, struct tg_str type, struct tg_str body)
{
    if (body.p == NULL || tg_request_answer(r, TG_SOURCE_GATEWAY, status, body) != TG_OK)
        return false;
    return body.n == 0 || tg_fields_add_id(&r->resp.fields, TG_FIELD_CONTENT_TYPE, type) == TG_OK;
}

/* ---- By template ---- */

#define FACT_MAX 1024 /* bytes of what the client sent */

static struct tg_str fact(struct tg_request *r, enum tg_answer_fact which, unsigned status,
                          const char *detail, char number[8])
{
    switch (which) {
    case TG_FACT_STATUS:
        return tg_str(number, (size_t)snprintf(number, 8, "%u", status));
    case TG_FACT_REASON:
        return tg_str_c(tg_status_reason(status));
    case TG_FACT_CODE:
        return tg_str_c(r->error);
    case TG_FACT_DETAIL:
        return tg_str_c(detail);
    case TG_FACT_REQUEST_ID:
        return tg_str(r->id, sizeof(r->id));
    case TG_FACT_METHOD:
        return tg_str_sub(r->in.method_name, 0, FACT_MAX);
    case TG_FACT_HOST:
        return tg_str_sub(r->in.authority, 0, FACT_MAX);
    case TG_FACT_PATH:
        return tg_str_sub(r->in.path, 0, FACT_MAX);
    case TG_FACTS:
        break;
    }
    return TG_STR("");
}

/* The operator's answer for this status; NULL: a problem will do. */
static const struct tg_answer_conf *find(const struct tg_request *r, unsigned status)
{
    const struct tg_answer_conf *own = NULL;
    if (r->route != NULL)
        own = tg_answers_find(r->route->answers, status);
    return own != NULL ? own : tg_answers_find(r->snapshot->settings.answers, status);
}

static bool prepare_own(struct tg_request *r, const struct tg_answer_conf *conf, unsigned status,
                        const char *detail)
{
    struct tg_fmt f;
    char number[8];
    tg_fmt_init_arena(&f, &r->arena, 512);
    for (uint32_t i = 0; i < conf->n; i++) {
        const struct tg_answer_part *part = &conf->parts[i];
        if (part->fact == TG_FACTS)
            tg_fmt_add(&f, part->text);
        else
            tg_template_put_body(&f, fact(r, part->fact, status, detail, number), conf->escape);
    }
    struct tg_str body = f.n > 0 || f.failed ? tg_fmt_str(&f) : TG_STR("");
    if (!prepare(r, status, conf->type, body))
        return false;
    enum tg_err err =
        tg_fields_add(&r->resp.fields, TG_STR("X-Content-Type-Options"), TG_STR("nosniff"));
    for (uint32_t i = 0; i < conf->field_count && err == TG_OK; i++)
        err = tg_fields_set_field(&r->resp.fields, &conf->fields[i]);
    return err == TG_OK;
}

/* An answer for a failure: the operator's, or a problem where there is none, or no room for it. */
static bool prepare_failure(struct tg_request *r, unsigned status, const char *detail)
{
    const struct tg_answer_conf *own = find(r, status);
    if (own != NULL && prepare_own(r, own, status, detail))
        return true;
    return prepare(r, status, TG_STR("application/problem+json"),
                   tg_answer_problem(r, status, r->error, tg_str_c(detail), TG_STR("")));
}

bool tg_answer_prepare(struct tg_request *r, unsigned status, const char *code, const char *detail)
{
    r->error = code;
    tg_request_make_room(r);
    return prepare_failure(r, status, detail);
}

/* Whatever was going on ends. The origin first: header filters may wait, and nothing that it says
 * meanwhile has a place any more. */
static void drop_the_rest(struct tg_request *r)
{
    tg_proxy_release(r);
    tg_plugins_cancel(r);
}

static void answer(struct tg_request *r, unsigned status, const char *code, const char *detail)
{
    drop_the_rest(r);
    if (r->head_sent || !tg_answer_prepare(r, status, code, detail)) {
        tg_request_break(r, code);
        return;
    }
    tg_relay_start(r);
}

void tg_answer_error(struct tg_request *r, unsigned status, const char *code)
{
    answer(r, status, code, NULL);
}

void tg_answer_overload(struct tg_request *r, const char *code)
{
    static const struct tg_str seconds[] = {{"1", 1}, {"2", 1}, {"3", 1}};
    uint64_t which = tg_rand_below(&r->gate->worker->rand, TG_COUNT_OF(seconds));
    r->error = code;
    drop_the_rest(r);
    tg_request_make_room(r);
    if (r->head_sent || !prepare_failure(r, 503, NULL) ||
        tg_fields_add(&r->resp.fields, TG_STR("Retry-After"), seconds[which]) != TG_OK) {
        tg_request_break(r, code);
        return;
    }
    tg_relay_start(r);
}

void tg_answer_websocket(struct tg_request *r, unsigned status, const char *detail)
{
    r->error = "bad_websocket_handshake";
    enum tg_err err = prepare_failure(r, status, detail) ? TG_OK : TG_E_NOMEM;
    if (err == TG_OK && status == 426)
        err = tg_fields_add(&r->resp.fields, TG_STR("Sec-WebSocket-Version"), TG_STR("13"));
    if (err != TG_OK)
        tg_request_break(r, r->error);
    else
        tg_relay_start(r);
}

static const char *code_of(unsigned status)
{
    switch (status) {
    case 408:
        return "request_timeout";
    case 413:
        return "request_too_large";
    case 414:
        return "target_too_long";
    case 431:
        return "head_too_large";
    case 501:
        return "method_unknown";
    case 503:
        return "no_resources";
    case 505:
        return "version_not_supported";
    default:
        return "bad_request";
    }
}

void tg_answer_refusal(struct tg_request *r, unsigned status, const char *detail)
{
    answer(r, status, code_of(status), detail);
}

void tg_answer_wrong_method(struct tg_request *r, struct tg_str allow)
{
    r->error = "method_not_allowed";
    if (allow.p == NULL || !prepare_failure(r, 405, NULL) ||
        tg_fields_add_id(&r->resp.fields, TG_FIELD_ALLOW, allow) != TG_OK) {
        tg_request_break(r, r->error);
        return;
    }
    tg_relay_start(r);
}

/* The path as the client wrote it, in whichever form it named the target. */
static struct tg_str written_path(const struct tg_request *r)
{
    return r->in.raw_path.n > 0 ? r->in.raw_path : TG_STR("/");
}

void tg_answer_https(struct tg_request *r)
{
    struct tg_fmt f;
    bool v6 = tg_str_find(r->in.host, ':', 0) < r->in.host.n && r->in.host.p[0] != '[';
    if (r->in.host.n == 0 || r->in.method == TG_METHOD_CONNECT) {
        tg_answer_refusal(r, 400, "this port redirects to https, and needs a host for that");
        return;
    }
    tg_fmt_init_arena(&f, &r->arena, r->in.host.n + r->in.target.n + 32);
    tg_fmt_lit(&f, "https://");
    tg_fmt_add(&f, v6 ? TG_STR("[") : TG_STR(""));
    tg_fmt_add(&f, r->in.host);
    tg_fmt_add(&f, v6 ? TG_STR("]") : TG_STR(""));
    if (r->listener->redirect_port != 443) {
        tg_fmt_char(&f, ':');
        tg_fmt_u64(&f, r->listener->redirect_port);
    }
    tg_fmt_add(&f, written_path(r));
    if (r->in.query.p != NULL) {
        tg_fmt_char(&f, '?');
        tg_fmt_add(&f, r->in.query);
    }
    struct tg_str location = tg_fmt_str(&f);
    if (location.p == NULL || !prepare(r, 308, TG_STR(""), TG_STR("")) ||
        tg_fields_add(&r->resp.fields, TG_STR("Location"), location) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    tg_relay_start(r);
}

void tg_answer_redirect(struct tg_request *r)
{
    struct tg_str location;
    enum tg_err err = tg_rewrite_location(r, &location);
    if (err == TG_OK && !prepare(r, r->route->redirect->status, TG_STR(""), TG_STR("")))
        err = TG_E_NOMEM;
    if (err == TG_OK)
        err = tg_fields_add(&r->resp.fields, TG_STR("Location"), location);
    if (err == TG_OK)
        tg_relay_start(r);
    else if (err == TG_E_INVALID)
        tg_answer_error(r, 400, "bad_rewrite");
    else
        tg_answer_error(r, 503, "no_resources");
}

void tg_answer_options(struct tg_request *r, struct tg_str allow)
{
    if (allow.p == NULL || !prepare(r, 204, TG_STR(""), TG_STR("")) ||
        tg_fields_add_id(&r->resp.fields, TG_FIELD_ALLOW, allow) != TG_OK) {
        tg_request_break(r, "no_memory");
        return;
    }
    tg_relay_start(r);
}

/* RFC 9110, 9.3.8: the head as it came, without what should not be shown around. */
void tg_answer_trace(struct tg_request *r)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, 512);
    tg_fmt_printf(&f, "TRACE %.*s HTTP/%.*s\r\n", TG_STR_ARG(r->in.target),
                  TG_STR_ARG(tg_request_head_version(&r->in)));
    for (uint32_t i = 0; i < r->in.fields.n; i++) {
        const struct tg_field *field = &r->in.fields.v[i];
        if (field->id == TG_FIELD_AUTHORIZATION || field->id == TG_FIELD_COOKIE ||
            field->id == TG_FIELD_PROXY_AUTHORIZATION)
            continue;
        tg_fmt_printf(&f, "%.*s: %.*s\r\n", TG_STR_ARG(field->name), TG_STR_ARG(field->value));
    }
    tg_fmt_lit(&f, "\r\n");
    if (!prepare(r, 200, TG_STR("message/http"), tg_fmt_str(&f))) {
        tg_request_break(r, "no_memory");
        return;
    }
    tg_relay_start(r);
}
