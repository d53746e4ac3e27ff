/*
 * Answers of OCSP responders: taken when they are good, refused for every reason there is.
 */
#include "net/ocsp.h"

#include "tls_fixture.h"

#include "base/mem.h"

static struct identity root, other, leaf, delegate, stranger;
static STACK_OF(X509) * chain;
static unsigned char der[TG_OCSP_MAX];

static int make(void **state)
{
    (void)state;
    identity_make(&root, NULL, false, 30, NULL, 0, NULL);
    identity_make(&other, NULL, false, 30, NULL, 0, NULL);
    identity_make(&leaf, "DNS:a.test", false, 30, &root, NID_info_access,
                  "OCSP;URI:http://ocsp.test/x");
    identity_make(&stranger, "DNS:b.test", false, 30, &root, NID_info_access,
                  "OCSP;URI:https://ocsp.test/x");
    identity_make(&delegate, "DNS:ocsp.test", false, 30, &root, NID_ext_key_usage, "OCSPSigning");
    chain = sk_X509_new_null();
    return sk_X509_push(chain, root.cert) == 1 ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    sk_X509_free(chain);
    identity_free(&root);
    identity_free(&other);
    identity_free(&leaf);
    identity_free(&stranger);
    identity_free(&delegate);
    return tg_mem_used(TG_MEM_CONFIG) == 0 ? 0 : -1;
}

/* The verdict on an answer of these makings. */
static const char *verdict(X509 *about, const struct identity *signer, int status, long since,
                           long until)
{
    static char why[TG_TLS_REASON_MAX];
    struct tg_ocsp_answer answer = {0};
    size_t n = identity_answer(about, &root, signer, status, since, until, der, sizeof(der));
    snprintf(why, sizeof(why), "good");
    enum tg_err err = tg_ocsp_check(tg_str((const char *)der, n), leaf.cert, chain, &answer, why);
    if (err == TG_OK)
        assert_in_range(answer.until - answer.since, until - since - 1, until - since + 1);
    return why;
}

static void a_good_answer_is_taken(void **state)
{
    (void)state;
    assert_string_equal(verdict(leaf.cert, &root, V_OCSP_CERTSTATUS_GOOD, -10, 3600), "good");
}

static void so_is_one_of_a_delegate(void **state)
{
    (void)state;
    assert_string_equal(verdict(leaf.cert, &delegate, V_OCSP_CERTSTATUS_GOOD, -10, 3600), "good");
}

static void others_are_refused(void **state)
{
    (void)state;
    assert_string_equal(verdict(leaf.cert, &root, V_OCSP_CERTSTATUS_REVOKED, -10, 3600),
                        "the certificate is revoked");
    assert_string_equal(verdict(leaf.cert, &root, V_OCSP_CERTSTATUS_UNKNOWN, -10, 3600),
                        "the responder does not know the certificate");
    assert_string_equal(verdict(leaf.cert, &root, V_OCSP_CERTSTATUS_GOOD, -7200, -3600),
                        "the answer is of another time: it has expired, or a clock is wrong");
    assert_string_equal(verdict(leaf.cert, &root, V_OCSP_CERTSTATUS_GOOD, 3600, 7200),
                        "the answer is of another time: it has expired, or a clock is wrong");
    assert_string_equal(verdict(leaf.cert, &other, V_OCSP_CERTSTATUS_GOOD, -10, 3600),
                        "the answer is not signed by the issuer, or by whom it lets answer");
    assert_string_equal(verdict(leaf.cert, &stranger, V_OCSP_CERTSTATUS_GOOD, -10, 3600),
                        "the answer is not signed by the issuer, or by whom it lets answer");
    assert_string_equal(verdict(stranger.cert, &root, V_OCSP_CERTSTATUS_GOOD, -10, 3600),
                        "the answer says nothing of this certificate");
}

static void rubbish_and_parts_are_refused(void **state)
{
    char why[TG_TLS_REASON_MAX];
    struct tg_ocsp_answer answer;
    (void)state;
    size_t n = identity_answer(leaf.cert, &root, &root, V_OCSP_CERTSTATUS_GOOD, -10, 3600, der,
                               sizeof(der) - 1);
    for (size_t cut = 0; cut <= n + 1; cut++) {
        enum tg_err err =
            tg_ocsp_check(tg_str((const char *)der, cut), leaf.cert, chain, &answer, why);
        assert_int_equal(err, cut == n ? TG_OK : TG_E_INVALID);
    }
    for (size_t i = 0; i < n; i++) {
        der[i] ^= 1;
        if (tg_ocsp_check(tg_str((const char *)der, n), leaf.cert, chain, &answer, why) == TG_OK)
            fail_msg("byte %zu of %zu may be anything", i, n);
        der[i] ^= 1;
    }
}

static void an_error_of_the_responder_is_told(void **state)
{
    char why[TG_TLS_REASON_MAX];
    struct tg_ocsp_answer answer;
    unsigned char *p = der;
    (void)state;
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, NULL);
    int n = i2d_OCSP_RESPONSE(response, &p);
    OCSP_RESPONSE_free(response);
    assert_int_equal(
        tg_ocsp_check(tg_str((const char *)der, (size_t)n), leaf.cert, chain, &answer, why),
        TG_E_INVALID);
    assert_string_equal(why, "the responder answers \"trylater\"");
}

static void a_question_names_the_certificate(void **state)
{
    size_t n;
    (void)state;
    unsigned char *question = tg_ocsp_question(leaf.cert, root.cert, &n);
    const unsigned char *at = question;
    OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &at, (long)n);
    assert_non_null(request);
    assert_int_equal(OCSP_request_onereq_count(request), 1);
    OCSP_REQUEST_free(request);
    OPENSSL_free(question);
}

static void the_certificate_says_whom_to_ask(void **state)
{
    (void)state;
    char *url = tg_ocsp_url(leaf.cert);
    assert_string_equal(url, "http://ocsp.test/x");
    tg_mem_free(TG_MEM_CONFIG, url);
    assert_null(tg_ocsp_url(stranger.cert)); /* by https alone */
    assert_null(tg_ocsp_url(root.cert));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_answer_is_taken),
        cmocka_unit_test(so_is_one_of_a_delegate),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(rubbish_and_parts_are_refused),
        cmocka_unit_test(an_error_of_the_responder_is_told),
        cmocka_unit_test(a_question_names_the_certificate),
        cmocka_unit_test(the_certificate_says_whom_to_ask),
    };
    return cmocka_run_group_tests_name("ocsp", tests, make, drop);
}
