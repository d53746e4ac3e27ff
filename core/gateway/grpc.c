/* grpc.c: see grpc.h. */
#include "base/banned.h"
#include "gateway/grpc.h"

#include "base/fmt.h"
#include "gateway/internal.h"

#define TIMEOUT_MAX    (366ull * 24 * 3600 * TG_USEC_PER_SEC)
#define TIMEOUT_DIGITS 8

enum status {
    OK,
    CANCELLED,
    UNKNOWN,
    INVALID_ARGUMENT,
    DEADLINE_EXCEEDED,
    NOT_FOUND,
    ALREADY_EXISTS,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    FAILED_PRECONDITION,
    ABORTED,
    OUT_OF_RANGE,
    UNIMPLEMENTED,
    INTERNAL,
    UNAVAILABLE,
    DATA_LOSS,
    UNAUTHENTICATED
};

static bool is_type(struct tg_str value)
{
    static const struct tg_str type = {"application/grpc", 16};
    if (value.n < type.n || !tg_str_eq_nocase(tg_str_sub(value, 0, type.n), type))
        return false;
    char next = value.n > type.n ? value.p[type.n] : ';';
    return next == ';' || next == '+' || next == ' '; /* not application/grpc-web */
}

void tg_grpc_look(struct tg_request *r)
{
    const struct tg_field *field = tg_fields_find_id(&r->in.fields, TG_FIELD_CONTENT_TYPE);
    r->grpc = field != NULL && is_type(field->value);
}

/* ---- Time --------------------------------------------------------------------------------------
 */

/* Nanoseconds in a unit; 0: it is none. */
static uint64_t unit_of(char c)
{
    switch (c) {
    case 'H':
        return 3600ull * 1000000000;
    case 'M':
        return 60ull * 1000000000;
    case 'S':
        return 1000000000;
    case 'm':
        return 1000000;
    case 'u':
        return 1000;
    case 'n':
        return 1;
    default:
        return 0;
    }
}

bool tg_grpc_read_timeout(struct tg_str value, uint64_t *us)
{
    uint64_t n;
    if (value.n < 2 || value.n > TIMEOUT_DIGITS + 1)
        return false;
    uint64_t unit = unit_of(value.p[value.n - 1]);
    if (unit == 0 || !tg_str_to_u64(tg_str_sub(value, 0, value.n - 1), &n))
        return false;
    *us = unit >= 1000 ? n * (unit / 1000) : n / 1000; /* 8 digits of hours fit */
    *us = TG_MIN(*us, TIMEOUT_MAX);
    return true;
}

static const struct tg_field *timeout_of(const struct tg_request *r)
{
    return tg_fields_find(&r->in.fields, TG_STR("grpc-timeout"));
}

void tg_grpc_start(struct tg_request *r)
{
    uint64_t us;
    const struct tg_field *timeout = timeout_of(r);
    if (timeout == NULL || !tg_grpc_read_timeout(timeout->value, &us))
        return;
    r->grpc_until = r->started + us;
    r->deadline = TG_MIN(r->deadline, r->grpc_until);
}

bool tg_grpc_is_timeout(const struct tg_request *r, const struct tg_field *field)
{
    return r->grpc_until > 0 && field->id == TG_FIELD_OTHER &&
           tg_str_eq_nocase(field->name, TG_STR("grpc-timeout"));
}

/* The finest unit in which eight digits hold the time, rounded down: the origin ends first. */
void tg_grpc_write_timeout(const struct tg_request *r, uint64_t now, struct tg_fmt *f)
{
    static const struct {
        uint64_t us;
        char unit;
    } units[] = {{1, 'u'}, {1000, 'm'}, {TG_USEC_PER_SEC, 'S'}, {60 * TG_USEC_PER_SEC, 'M'}};
    uint64_t left = r->grpc_until > now ? r->grpc_until - now : 1;
    size_t i = 0;
    while (i + 1 < TG_COUNT_OF(units) && left / units[i].us > 99999999)
        i++;
    tg_fmt_u64(f, left / units[i].us);
    tg_fmt_char(f, units[i].unit);
}

/* ---- Statuses ----------------------------------------------------------------------------------
 */

/* What an error of HTTP is in gRPC. As in gRPC's "HTTP to gRPC Status Code Mapping", which is for
 * answers of strangers; here it is known that 429 is a quota, 413 a size and 504 a time. */
static enum status from_http(unsigned status)
{
    switch (status) {
    case 400:
        return INTERNAL;
    case 401:
        return UNAUTHENTICATED;
    case 403:
        return PERMISSION_DENIED;
    case 404:
        return UNIMPLEMENTED;
    case 413:
    case 429:
    case 431:
        return RESOURCE_EXHAUSTED;
    case 408:
    case 504:
        return DEADLINE_EXCEEDED;
    case 502:
    case 503:
        return UNAVAILABLE;
    default:
        return UNKNOWN;
    }
}

/* What a status of gRPC counts as in HTTP. */
static unsigned to_http(int status)
{
    switch (status) {
    case OK:
        return 200;
    case CANCELLED:
        return 499;
    case DEADLINE_EXCEEDED:
        return 504;
    case NOT_FOUND:
        return 404;
    case ALREADY_EXISTS:
    case ABORTED:
        return 409;
    case PERMISSION_DENIED:
        return 403;
    case RESOURCE_EXHAUSTED:
        return 429;
    case UNIMPLEMENTED:
        return 501;
    case UNAVAILABLE:
        return 503;
    case UNAUTHENTICATED:
        return 401;
    case INVALID_ARGUMENT:
    case FAILED_PRECONDITION:
    case OUT_OF_RANGE:
        return 400;
    default:
        return 500;
    }
}

/* grpc-status in a list; -1: there is none. */
static int status_in(const struct tg_fields *fields)
{
    uint64_t n;
    const struct tg_field *field =
        fields != NULL ? tg_fields_find(fields, TG_STR("grpc-status")) : NULL;
    if (field == NULL)
        return -1;
    return tg_str_to_u64(field->value, &n) && n < TG_GRPC_STATUSES ? (int)n : UNKNOWN;
}

unsigned tg_grpc_judged(const struct tg_response_head *head)
{
    int status = head->status == 200 ? status_in(&head->fields) : -1;
    return status < 0 ? head->status : to_http(status);
}

void tg_grpc_note(struct tg_request *r)
{
    int status = status_in(r->resp_trailers);
    if (status < 0)
        status = status_in(&r->resp.fields);
    r->grpc_told = status >= 0;
    r->grpc_status = (uint8_t)TG_MAX(status, 0);
}

static struct tg_str number(struct tg_request *r, unsigned n)
{
    struct tg_fmt f;
    tg_fmt_init_arena(&f, &r->arena, 4);
    tg_fmt_u64(&f, n);
    return tg_fmt_str(&f);
}

enum tg_err tg_grpc_answer(struct tg_request *r)
{
    struct tg_fields *fields = &r->resp.fields;
    tg_grpc_look(r);
    if (!r->grpc || r->resp.status < 400 || status_in(fields) >= 0)
        return TG_OK;
    struct tg_str code = number(r, from_http(r->resp.status));
    const char *text = r->error != NULL ? r->error : tg_status_reason(r->resp.status);
    if (code.p == NULL)
        return TG_E_NOMEM;
    r->resp.status = 200;
    r->resp.reason = (struct tg_str){0};
    r->resp.framing = TG_FRAMING_NONE;
    r->resp.has_length = false;
    r->resp.length = 0;
    r->resp_body = TG_STR("");
    enum tg_err err = tg_fields_set(fields, TG_STR("content-type"), TG_STR("application/grpc"));
    if (err == TG_OK)
        err = tg_fields_add(fields, TG_STR("grpc-status"), code);
    if (err == TG_OK)
        err = tg_fields_add(fields, TG_STR("grpc-message"), tg_str_c(text));
    return err;
}
