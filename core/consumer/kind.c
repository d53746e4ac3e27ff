/* kind.c: see kind.h. */
#include "base/banned.h"
#include "consumer/kind.h"

static const struct tg_credential_kind_info kinds[TG_CREDENTIAL_KINDS] = {
#define TG_CREDENTIAL(ID, name, secret, doc) [TG_CREDENTIAL_##ID] = {name, (secret) != 0, doc},
#include "consumer/kind.def"
#undef TG_CREDENTIAL
};

const struct tg_credential_kind_info *tg_credential_kind_info(enum tg_credential_kind kind)
{
    return &kinds[kind];
}

bool tg_credential_kind_from(struct tg_str name, enum tg_credential_kind *out)
{
    for (int i = 0; i < TG_CREDENTIAL_KINDS; i++) {
        if (!tg_str_eq(name, tg_str_c(kinds[i].name)))
            continue;
        *out = (enum tg_credential_kind)i;
        return true;
    }
    return false;
}
