/* ocsp.c: see ocsp.h. */
#include "base/banned.h"
#include "net/ocsp.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <time.h>

#define SKEW 300 /* s by which clocks may differ */

unsigned char *tg_ocsp_question(X509 *cert, X509 *issuer, size_t *n)
{
    unsigned char *der = NULL;
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    int size = -1;
    if (request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL; /* the request's */
        size = i2d_OCSP_REQUEST(request, &der);
    }
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    ERR_clear_error();
    *n = size > 0 ? (size_t)size : 0;
    return size > 0 ? der : NULL;
}

static enum tg_err refuse(char why[TG_TLS_REASON_MAX], const char *text)
{
    snprintf(why, TG_TLS_REASON_MAX, "%s", text);
    return TG_E_INVALID;
}

static int64_t seconds_of(const ASN1_GENERALIZEDTIME *time)
{
    struct tm tm;
    return time != NULL && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Whether the issuer, or whom it lets answer, has signed this. */
static bool is_signed(OCSP_BASICRESP *basic, STACK_OF(X509) * chain)
{
    X509_STORE *store = X509_STORE_new();
    bool good = store != NULL && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1;
    for (int i = 0; good && i < sk_X509_num(chain); i++)
        good = X509_STORE_add_cert(store, sk_X509_value(chain, i)) == 1;
    good = good && OCSP_basic_verify(basic, chain, store, 0) == 1;
    X509_STORE_free(store);
    return good;
}

/* What it says of this certificate. */
static enum tg_err read_status(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer,
                               struct tg_ocsp_answer *out, char why[TG_TLS_REASON_MAX])
{
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    ASN1_GENERALIZEDTIME *since = NULL, *until = NULL;
    int status = -1, reason;
    bool found =
        id != NULL && OCSP_resp_find_status(basic, id, &status, &reason, NULL, &since, &until) == 1;
    OCSP_CERTID_free(id);
    if (!found)
        return refuse(why, "the answer says nothing of this certificate");
    if (status != V_OCSP_CERTSTATUS_GOOD)
        return refuse(why, status == V_OCSP_CERTSTATUS_REVOKED
                               ? "the certificate is revoked"
                               : "the responder does not know the certificate");
    out->since = seconds_of(since);
    out->until = seconds_of(until);
    if (OCSP_check_validity(since, until, SKEW, -1) == 1)
        return TG_OK;
    out->over = out->until != 0 && out->until < (int64_t)time(NULL);
    return refuse(why, "the answer is of another time: it has expired, or a clock is wrong");
}

static enum tg_err check(OCSP_RESPONSE *response, X509 *cert, STACK_OF(X509) * chain,
                         struct tg_ocsp_answer *out, char why[TG_TLS_REASON_MAX])
{
    if (sk_X509_num(chain) == 0)
        return refuse(why, "the certificate of the issuer is missing behind the certificate");
    int status = OCSP_response_status(response);
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        snprintf(why, TG_TLS_REASON_MAX, "the responder answers \"%s\"",
                 OCSP_response_status_str(status));
        return TG_E_INVALID;
    }
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    enum tg_err err = TG_E_INVALID;
    if (basic == NULL)
        err = refuse(why, "the answer is of a kind that is not known");
    else if (!is_signed(basic, chain))
        err = refuse(why, "the answer is not signed by the issuer, or by whom it lets answer");
    else
        err = read_status(basic, cert, sk_X509_value(chain, 0), out, why);
    OCSP_BASICRESP_free(basic);
    return err;
}

enum tg_err tg_ocsp_check(struct tg_str der, X509 *cert, STACK_OF(X509) * chain,
                          struct tg_ocsp_answer *out, char why[TG_TLS_REASON_MAX])
{
    const unsigned char *at = (const unsigned char *)der.p;
    OCSP_RESPONSE *response =
        der.n <= TG_OCSP_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)der.n) : NULL;
    enum tg_err err = TG_E_INVALID;
    *out = (struct tg_ocsp_answer){0};
    if (response == NULL || at != (const unsigned char *)der.p + der.n)
        err = refuse(why, "this is no OCSP response (in DER)");
    else
        err = check(response, cert, chain, out, why);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return err;
}

char *tg_ocsp_url(X509 *cert)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(cert);
    char *url = NULL;
    for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && url == NULL; i++) {
        const char *text = sk_OPENSSL_STRING_value(urls, i);
        if (strncmp(text, "http://", 7) == 0)
            url = tg_mem_strndup(TG_MEM_CONFIG, text, strlen(text));
    }
    X509_email_free(urls);
    return url;
}
