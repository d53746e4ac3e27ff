/* tls_pem.c: see tls_pem.h. Runs when configurations are read and where plugins bring certificates,
 * never on the way of a request. */
#include "base/banned.h"
#include "net/tls_pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define CHAIN_MAX 1024 /* certificates in one text: roots of a whole system are some 150 */

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *room, int size, int writing, void *arg)
{
    (void)room;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static enum tg_err refuse(struct tg_tls_problem *why, const char *field, const char *text)
{
    why->field = field;
    snprintf(why->text, sizeof(why->text), "%s", text);
    ERR_clear_error();
    return TG_E_INVALID;
}

static BIO *open_text(struct tg_str text)
{
    return text.n <= INT32_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
}

enum tg_err tg_tls_certificates_read(struct tg_str text, STACK_OF(X509) * *out,
                                     struct tg_tls_problem *why)
{
    BIO *bio = open_text(text);
    STACK_OF(X509) *list = sk_X509_new_null();
    X509 *one = NULL;
    bool room = bio != NULL && list != NULL;
    while (room && sk_X509_num(list) < CHAIN_MAX &&
           (one = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        room = sk_X509_push(list, one) > 0;
        if (!room)
            X509_free(one);
    }
    BIO_free(bio);
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (room && ended && sk_X509_num(list) > 0) {
        *out = list;
        return TG_OK;
    }
    bool none = sk_X509_num(list) <= 0;
    sk_X509_pop_free(list, X509_free);
    if (!room)
        return TG_E_NOMEM;
    return refuse(why, "cert",
                  ended && none ? "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
                                : "it holds a certificate that cannot be read");
}

static enum tg_err read_key(struct tg_str text, EVP_PKEY **out, struct tg_tls_problem *why)
{
    BIO *bio = open_text(text);
    if (bio == NULL)
        return TG_E_NOMEM;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (key != NULL) {
        ERR_clear_error(); /* decoders that were tried in vain */
        *out = key;
        return TG_OK;
    }
    for (unsigned long e = ERR_get_error(); e != 0; e = ERR_get_error()) {
        if (ERR_GET_REASON(e) == PEM_R_BAD_PASSWORD_READ ||
            ERR_GET_REASON(e) == PEM_R_PROBLEMS_GETTING_PASSWORD)
            return refuse(why, "key",
                          "the key is encrypted; a gateway starts without anybody at the keyboard, "
                          "so store it in clear and guard the file");
    }
    return refuse(why, "key", "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)");
}

static enum tg_err check_pair(const struct tg_tls_credentials *c, struct tg_tls_problem *why)
{
    if (X509_check_private_key(c->leaf, c->key) == 1)
        return TG_OK;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        if (X509_check_private_key(sk_X509_value(c->chain, i), c->key) == 1)
            return refuse(why, "cert",
                          "the certificate that the key belongs to has to stand first, before "
                          "those that signed it");
    }
    return refuse(why, "key", "the key does not belong to the certificate");
}

enum tg_err tg_tls_credentials_read(struct tg_str cert, struct tg_str key,
                                    struct tg_tls_credentials *out, struct tg_tls_problem *why)
{
    *out = (struct tg_tls_credentials){0};
    enum tg_err err = tg_tls_certificates_read(cert, &out->chain, why);
    if (err == TG_OK) {
        out->leaf = sk_X509_shift(out->chain);
        err = read_key(key, &out->key, why);
    }
    if (err == TG_OK)
        err = check_pair(out, why);
    if (err != TG_OK)
        tg_tls_credentials_release(out);
    return err;
}

void tg_tls_credentials_release(struct tg_tls_credentials *credentials)
{
    X509_free(credentials->leaf);
    sk_X509_pop_free(credentials->chain, X509_free);
    EVP_PKEY_free(credentials->key);
    *credentials = (struct tg_tls_credentials){0};
}

const char *tg_tls_key_kind(const X509 *leaf)
{
    switch (EVP_PKEY_get_base_id(X509_get0_pubkey(leaf))) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return "RSA";
    case EVP_PKEY_EC:
        return "ECDSA";
    case EVP_PKEY_ED25519:
        return "Ed25519";
    default:
        return "other";
    }
}

int64_t tg_tls_not_after(const X509 *leaf)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool take_common_name(const X509 *leaf, void (*take)(void *arg, struct tg_str name),
                             void *arg)
{
    X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0)
        return false;
    const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    take(arg, tg_str((const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
    return true;
}

void tg_tls_names(const X509 *leaf, void (*take)(void *arg, struct tg_str name), void *arg)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool some = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS)
            continue;
        const ASN1_STRING *text = name->d.dNSName;
        some = true;
        take(arg,
             tg_str((const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
    }
    GENERAL_NAMES_free(names);
    if (!some)
        (void)take_common_name(leaf, take, arg);
}
