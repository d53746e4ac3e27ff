/* kind.h: kinds of credentials: what kind.def lists. */
#ifndef TG_CONSUMER_KIND_H
#define TG_CONSUMER_KIND_H

#include "base/str.h"

enum tg_credential_kind {
#define TG_CREDENTIAL(ID, name, secret, doc) TG_CREDENTIAL_##ID,
#include "consumer/kind.def"
#undef TG_CREDENTIAL
    TG_CREDENTIAL_KINDS
};

struct tg_credential_kind_info {
    const char *name;
    bool secret;
    const char *doc;
};

const struct tg_credential_kind_info *tg_credential_kind_info(enum tg_credential_kind kind);

/* The kind of that name into *out; false when there is none. */
bool tg_credential_kind_from(struct tg_str name, enum tg_credential_kind *out) TG_MUST_USE;

#endif
