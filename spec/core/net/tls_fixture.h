/*
 * Certificates for unit tests of TLS, made on the spot: keys of P-256 or RSA, self-signed or signed
 * by another one. Include it after the unit's own header.
 */
#ifndef TG_SPEC_TLS_FIXTURE_H
#define TG_SPEC_TLS_FIXTURE_H

#include "net/tls_pem.h"
#include "support.h"

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
    char cert_pem[8192]; /* with those behind it */
    char key_pem[4096];
};

static inline void identity_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX cx;
    X509V3_set_ctx(&cx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &cx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void identity_write(BIO *bio, char *out, size_t size)
{
    int n = BIO_read(bio, out, (int)size - 1);
    assert_in_range(n, 1, (int)size - 2);
    out[n] = '\0';
    BIO_free(bio);
}

/* A certificate for `names` ("DNS:a.test,DNS:b.test"; NULL: an authority), good for `days` days,
 * signed by `signer` (NULL: by itself), with an extension more where `nid` is not 0. */
static inline void identity_make(struct identity *id, const char *names, bool rsa, int days,
                                 const struct identity *signer, int nid, const char *value)
{
    static long serial = 1;
    id->key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    id->cert = X509_new();
    assert_true(id->key != NULL && id->cert != NULL);
    X509 *issuer = signer != NULL ? signer->cert : id->cert;
    X509_set_version(id->cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id->cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(id->cert), -86400 * 2);
    X509_gmtime_adj(X509_getm_notAfter(id->cert), 86400L * days);
    X509_set_pubkey(id->cert, id->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(id->cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)(names != NULL ? names : "root"), -1, -1, 0);
    X509_set_issuer_name(id->cert, X509_get_subject_name(issuer));
    if (names != NULL)
        identity_extend(id->cert, issuer, NID_subject_alt_name, names);
    else
        identity_extend(id->cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
    if (nid != 0)
        identity_extend(id->cert, issuer, nid, value);
    assert_true(X509_sign(id->cert, signer != NULL ? signer->key : id->key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, id->cert);
    if (signer != NULL)
        PEM_write_bio_X509(bio, signer->cert);
    identity_write(bio, id->cert_pem, sizeof(id->cert_pem));
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, id->key, NULL, NULL, 0, NULL, NULL);
    identity_write(bio, id->key_pem, sizeof(id->key_pem));
}

static inline void identity_free(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    *id = (struct identity){.key = NULL};
}

/* An OCSP response for `cert` of `issuer`, signed by `signer`, in DER; its size. `since` and
 * `until` are seconds from now. */
static inline size_t identity_answer(X509 *cert, const struct identity *issuer,
                                     const struct identity *signer, int status, long since,
                                     long until, unsigned char *out, size_t size)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer->cert);
    ASN1_TIME *from = X509_gmtime_adj(NULL, since);
    ASN1_TIME *to = X509_gmtime_adj(NULL, until);
    assert_non_null(OCSP_basic_add1_status(
        basic, id, status, 0, status == V_OCSP_CERTSTATUS_REVOKED ? from : NULL, from, to));
    unsigned long flags = signer == issuer ? OCSP_NOCERTS : 0; /* that one is known */
    assert_int_equal(OCSP_basic_sign(basic, signer->cert, signer->key, EVP_sha256(), NULL, flags),
                     1);
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *p = out;
    int n = i2d_OCSP_RESPONSE(response, NULL);
    assert_in_range(n, 1, (int)size);
    i2d_OCSP_RESPONSE(response, &p);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return (size_t)n;
}

#endif
