/* tls_leaf.c: see tls_leaf.h. */
#include "base/banned.h"
#include "net/tls_leaf.h"

#include "base/mem.h"
#include "net/ocsp.h"

#include <openssl/x509v3.h>

#define FEATURE_STATUS_REQUEST 5 /* RFC 7633 */

static void take_first(void *arg, struct tg_str name)
{
    char **out = arg;
    if (*out == NULL && memchr(name.p, '\0', name.n) == NULL)
        *out = tg_mem_strndup(TG_MEM_CONFIG, name.p, name.n);
}

static bool says_must_staple(const X509 *cert)
{
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    bool must = false;
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        must |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == FEATURE_STATUS_REQUEST;
    TLS_FEATURE_free(features);
    return must;
}

static enum tg_err refuse(struct tg_tls_problem *why, const char *text)
{
    why->field = "ocsp";
    snprintf(why->text, sizeof(why->text), "%s", text);
    return TG_E_INVALID;
}

/* Where a staple comes from: from the configuration, or from somebody to be asked. */
static enum tg_err prepare_staple(struct tg_tls_leaf *leaf, const struct tg_tls_staple_options *o,
                                  struct tg_tls_problem *why)
{
    struct tg_ocsp_answer answer;
    char text[TG_TLS_REASON_MAX];
    if (sk_X509_num(leaf->chain) == 0)
        return refuse(why, "the certificate of the issuer has to stand behind the certificate");
    if (X509_check_issued(sk_X509_value(leaf->chain, 0), leaf->cert) != X509_V_OK)
        return refuse(why, "the certificate that stands second has not issued the first");
    if (o->response.n > 0) {
        enum tg_err err = tg_ocsp_check(o->response, leaf->cert, leaf->chain, &answer, text);
        if (err != TG_OK && !answer.over)
            return refuse(why, text);
        return tg_tls_leaf_staple(leaf, o->response, answer.until);
    }
    leaf->url =
        o->url.n > 0 ? tg_mem_strndup(TG_MEM_CONFIG, o->url.p, o->url.n) : tg_ocsp_url(leaf->cert);
    if (leaf->url == NULL)
        return refuse(why, "the certificate names no responder that speaks HTTP; set url or file");
    return TG_OK;
}

enum tg_err tg_tls_leaf_init(struct tg_tls_leaf *leaf, const struct tg_tls_credentials *credentials,
                             const struct tg_tls_staple_options *options,
                             struct tg_tls_problem *why)
{
    *leaf = (struct tg_tls_leaf){.kind = tg_tls_key_kind(credentials->leaf),
                                 .not_after = tg_tls_not_after(credentials->leaf),
                                 .must_staple = says_must_staple(credentials->leaf),
                                 .staples = options->wanted};
    pthread_mutex_init(&leaf->lock, NULL);
    leaf->cert = X509_up_ref(credentials->leaf) == 1 ? credentials->leaf : NULL;
    leaf->key = EVP_PKEY_up_ref(credentials->key) == 1 ? credentials->key : NULL;
    leaf->chain = X509_chain_up_ref(credentials->chain);
    tg_tls_names(credentials->leaf, take_first, &leaf->name);
    if (leaf->name == NULL)
        leaf->name = tg_mem_strndup(TG_MEM_CONFIG, "", 0);
    enum tg_err err =
        leaf->cert == NULL || leaf->key == NULL || leaf->name == NULL ? TG_E_NOMEM : TG_OK;
    if (err == TG_OK && leaf->chain == NULL && sk_X509_num(credentials->chain) > 0)
        err = TG_E_NOMEM;
    if (err == TG_OK && options->wanted)
        err = prepare_staple(leaf, options, why);
    if (err != TG_OK)
        tg_tls_leaf_release(leaf);
    return err;
}

void tg_tls_leaf_release(struct tg_tls_leaf *leaf)
{
    if (leaf->cert == NULL && leaf->name == NULL)
        return;
    X509_free(leaf->cert);
    EVP_PKEY_free(leaf->key);
    sk_X509_pop_free(leaf->chain, X509_free);
    tg_mem_free(TG_MEM_CONFIG, leaf->name);
    tg_mem_free(TG_MEM_CONFIG, leaf->url);
    tg_mem_free(TG_MEM_CONFIG, leaf->der);
    pthread_mutex_destroy(&leaf->lock);
    *leaf = (struct tg_tls_leaf){.name = NULL};
}

enum tg_err tg_tls_leaf_staple(struct tg_tls_leaf *leaf, struct tg_str der, int64_t until)
{
    unsigned char *fresh = tg_mem_alloc(TG_MEM_CONFIG, der.n);
    if (fresh == NULL)
        return TG_E_NOMEM;
    memcpy(fresh, der.p, der.n);
    pthread_mutex_lock(&leaf->lock);
    unsigned char *old = leaf->der;
    leaf->der = fresh;
    leaf->der_n = der.n;
    leaf->until = until;
    pthread_mutex_unlock(&leaf->lock);
    tg_mem_free(TG_MEM_CONFIG, old);
    return TG_OK;
}

enum tg_err tg_tls_leaf_inherit(struct tg_tls_leaf *leaf, struct tg_tls_leaf *from)
{
    pthread_mutex_lock(&from->lock);
    enum tg_err err = TG_OK;
    if (from->der != NULL)
        err = tg_tls_leaf_staple(leaf, tg_str((const char *)from->der, from->der_n), from->until);
    pthread_mutex_unlock(&from->lock);
    return err;
}

/* Under the lock. */
static bool is_good(const struct tg_tls_leaf *leaf, int64_t now)
{
    return leaf->der != NULL && (leaf->until == 0 || now < leaf->until);
}

bool tg_tls_leaf_is_stapled(struct tg_tls_leaf *leaf, int64_t now)
{
    pthread_mutex_lock(&leaf->lock);
    bool good = is_good(leaf, now);
    pthread_mutex_unlock(&leaf->lock);
    return good;
}

unsigned char *tg_tls_leaf_copy(struct tg_tls_leaf *leaf, int64_t now, size_t *n)
{
    pthread_mutex_lock(&leaf->lock);
    unsigned char *copy = is_good(leaf, now) ? OPENSSL_memdup(leaf->der, leaf->der_n) : NULL;
    *n = copy != NULL ? leaf->der_n : 0;
    pthread_mutex_unlock(&leaf->lock);
    return copy;
}
