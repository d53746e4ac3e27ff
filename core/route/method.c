/* method.c: the list is searched from its front, where the common methods are; it is short. */
#include "base/banned.h"
#include "route/method.h"

static const char *const standard[] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
};

static void append(struct tg_route_methods *methods, struct tg_str name)
{
    struct tg_route_method *m = &methods->item[methods->count++];
    m->n = (uint8_t)name.n;
    memcpy(m->p, name.p, name.n);
}

void tg_route_methods_init(struct tg_route_methods *methods)
{
    memset(methods, 0, sizeof(*methods));
    for (size_t i = 0; i < TG_COUNT_OF(standard); i++)
        append(methods, tg_str_c(standard[i]));
}

/* tchar of RFC 9110, 5.6.2 */
static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct tg_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!is_token_char(name.p[i]))
            return false;
    }
    return name.n > 0;
}

uint64_t tg_route_methods_find(const struct tg_route_methods *methods, struct tg_str name)
{
    for (unsigned i = 0; i < methods->count; i++) {
        const struct tg_route_method *m = &methods->item[i];
        if (m->n == name.n && memcmp(m->p, name.p, name.n) == 0)
            return UINT64_C(1) << i;
    }
    return TG_ROUTE_METHOD_OTHER;
}

enum tg_err tg_route_methods_add(struct tg_route_methods *methods, struct tg_str name,
                                 uint64_t *bit)
{
    if (!is_token(name) || name.n > TG_ROUTE_METHOD_NAME_MAX)
        return TG_E_INVALID;
    *bit = tg_route_methods_find(methods, name);
    if (*bit != TG_ROUTE_METHOD_OTHER)
        return TG_OK;
    if (methods->count == TG_ROUTE_METHODS_MAX)
        return TG_E_LIMIT;
    *bit = UINT64_C(1) << methods->count;
    append(methods, name);
    return TG_OK;
}

void tg_route_methods_write(const struct tg_route_methods *methods, uint64_t mask,
                            struct tg_fmt *out)
{
    bool first = true;
    for (unsigned i = 0; i < methods->count; i++) {
        if ((mask & UINT64_C(1) << i) == 0)
            continue;
        if (!first)
            tg_fmt_lit(out, ", ");
        tg_fmt_bytes(out, methods->item[i].p, methods->item[i].n);
        first = false;
    }
}
