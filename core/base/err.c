/* err.c: names and texts of errors, generated from err.def. */
#include "base/banned.h"
#include "base/err.h"

#include <errno.h>

static const char *const err_texts[] = {
#define TG_ERR(name, text) text,
#include "base/err.def"
#undef TG_ERR
};

static const char *const err_names[] = {
#define TG_ERR(name, text) #name,
#include "base/err.def"
#undef TG_ERR
};

const char *tg_err_text(enum tg_err err)
{
    size_t index = (size_t)(-(int)err - 1);
    if (err == TG_OK)
        return "ok";
    return index < TG_ERR_COUNT ? err_texts[index] : "unknown error";
}

const char *tg_err_name(enum tg_err err)
{
    size_t index = (size_t)(-(int)err - 1);
    if (err == TG_OK)
        return "OK";
    return index < TG_ERR_COUNT ? err_names[index] : "UNKNOWN";
}

enum tg_err tg_err_from_errno(int sys_errno)
{
    switch (sys_errno) {
    case 0:
        return TG_OK;
    case EAGAIN:
    case EINTR:
        return TG_E_AGAIN;
    case ENOMEM:
    case ENOBUFS:
        return TG_E_NOMEM;
    case EMFILE:
    case ENFILE:
        return TG_E_FILES;
    case ECONNREFUSED:
        return TG_E_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return TG_E_RESET;
    case ETIMEDOUT:
        return TG_E_TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        return TG_E_UNREACHABLE;
    default:
        return TG_E_SYSTEM;
    }
}
