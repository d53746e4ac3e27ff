/* crypto_key_test.c: keys, signatures and certificates of tg.crypto: RFC 8032 (Ed25519) and RFC
 * 7515, A.3 (ES256) against what they publish; other signatures there and back with keys made here,
 * and what is refused.
 */
#include "base/banned.h"
#include "bind/library.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define PEM                                                                                        \
    "local function pem(kind, bytes)\n"                                                            \
    "  return ('-----BEGIN %s-----\\n%s\\n-----END %s-----\\n'):format(kind,\n"                    \
    "    tg.base64.encode(bytes), kind)\n"                                                         \
    "end\n"

/* An Ed25519 key as PKCS#8 (RFC 8410, 7): a constant head and the 32 bytes of the seed. */
static void ed25519_signs_as_published(void **state)
{
    (void)state;
    library_run(
        PEM
        "local c = tg.crypto\n"
        "local key = assert(c.key(pem('PRIVATE KEY', hex('302e020100300506032b657004220420' ..\n"
        "  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'))))\n"
        "local public = assert(c.key(pem('PUBLIC KEY', hex('302a300506032b6570032100' ..\n"
        "  '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'))))\n"
        "local signature = c.sign(key, 'ed25519', '\\114')\n"
        "assert(tg.hex.encode(signature) ==\n"
        "   '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' ..\n"
        "   '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00')\n"
        "assert(c.verify(public, 'ed25519', signature, '\\114'))\n"
        "assert(not c.verify(public, 'ed25519', signature, '\\115'))\n"
        "assert(not c.verify(public, 'ed25519', 'short', '\\114'))\n"
        "fails('the key is of another kind', c.sign, key, 'ecdsa-sha256', 'x')\n"
        "fails('argument 1 (key): a public key verifies', c.sign, public, 'ed25519', 'x')\n"
        "fails('argument 2 (algorithm): expected', c.sign, key, 'none', 'x')\n"
        "fails('argument 1 (key): expected what', c.sign, 'key', 'ed25519', 'x')\n"
        "fails('argument 1 (key): expected what', c.sign, ctx, 'ed25519', 'x')\n"
        "assert(tostring(key) == 'key' and getmetatable(key) == false)\n"
        "refuses('bad_input', c.key '')\n"
        "refuses('bad_input', c.key 'nothing of the kind')\n"
        "refuses('bad_input', c.key(pem('PRIVATE KEY', hex '3000')))\n"
        "refuses('bad_input', c.key(('x'):rep(20000)))\n");
}

/* The public key as SubjectPublicKeyInfo (RFC 5480): a constant head and the two coordinates. */
static void es256_of_a_published_token_is_genuine(void **state)
{
    (void)state;
    library_run(
        PEM
        "local c = tg.crypto\n"
        "local function url(text) return (tg.base64.decode(text, { url = true })) end\n"
        "local head = hex '3059301306072a8648ce3d020106082a8648ce3d03010703420004'\n"
        "local key = assert(c.key(pem('PUBLIC KEY', head ..\n"
        "  url 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU' ..\n"
        "  url 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0')))\n"
        "local signed = 'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAs' ..\n"
        "  'DQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ'\n"
        "local signature = url('DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA' "
        "..\n"
        "  'pmWQxfKTUJqPP3-Kg6NU1Q')\n"
        "local function genuine(signature)\n"
        "  return c.verify(key, 'ecdsa-p1363-sha256', signature, signed)\n"
        "end\n"
        "assert(genuine(signature))\n"
        "assert(not genuine(signature .. '\\0') and not genuine '' and not "
        "genuine(('\\0'):rep(64)))\n"
        "assert(not genuine(signature:sub(33) .. signature:sub(1, 32)))\n"
        "assert(not c.verify(key, 'ecdsa-sha256', signature, signed))\n");
}

/* ---- Keys that are made here --------------------------------------------------------------- */

/* The text that was written to `bio`, as a Lua string in long brackets; frees it. */
static char *take_text(BIO *bio, char *out, size_t size)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    assert_in_range(n, 1, (long)size - 1);
    memcpy(out, p, (size_t)n);
    out[n] = '\0';
    BIO_free(bio);
    return out;
}

static void run_with_key(EVP_PKEY *pkey, X509 *certificate, const char *body)
{
    static char text[24576];
    char secret[8192], public[4096], third[4096] = "";
    BIO *bio = BIO_new(BIO_s_mem());
    assert_non_null(pkey);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
    take_text(bio, secret, sizeof(secret));
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    take_text(bio, public, sizeof(public));
    if (certificate != NULL) {
        bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_X509(bio, certificate), 1);
        take_text(bio, third, sizeof(third));
    }
    snprintf(text, sizeof(text),
             "%sfunction P.access(_, ctx)\nlocal c = tg.crypto\n"
             "local secret, public, certificate = [[%s]], [[%s]], [[%s]]\n"
             "local function both(algorithm)\n"
             "  local one, two = assert(c.key(secret)), assert(c.key(public))\n"
             "  local signature = c.sign(one, algorithm, 'data')\n"
             "  assert(c.verify(two, algorithm, signature, 'data'))\n"
             "  assert(c.verify(one, algorithm, signature, 'data'))\n"
             "  assert(not c.verify(two, algorithm, signature, 'dato'))\n"
             "  assert(not c.verify(two, algorithm, signature:sub(2), 'data'))\n"
             "  return signature, two\n"
             "end\n%s\nend\nreturn P\n",
             LIBRARY_HEAD, secret, public, third, body);
    library_run_plugin(text);
    EVP_PKEY_free(pkey);
    X509_free(certificate);
}

static void rsa_and_elliptic_curves_sign_there_and_back(void **state)
{
    (void)state;
    run_with_key(EVP_RSA_gen(2048), NULL,
                 "both 'rsa-pss-sha512'\n"
                 "local signature, key = both 'rsa-pkcs1-sha256'\n"
                 "assert(#signature == 256)\n"
                 "assert(not c.verify(key, 'rsa-pss-sha256', signature, 'data'))\n");
    run_with_key(EVP_EC_gen("P-256"), NULL,
                 "local signature, key = both 'ecdsa-sha256'\n"
                 "assert(signature:byte() == 0x30)\n"
                 "assert(not c.verify(key, 'ecdsa-sha384', signature, 'data'))\n");
    run_with_key(EVP_EC_gen("P-521"), NULL,
                 "both 'ecdsa-sha512'\n"
                 "for _ = 1, 8 do\n" /* half of the numbers begin with a zero */
                 "  assert(#both 'ecdsa-p1363-sha512' == 132)\n"
                 "end\n");
    run_with_key(EVP_EC_gen("P-384"), NULL, "assert(#both 'ecdsa-p1363-sha384' == 96)\n");
}

/* A key of 2048 bits, of which the part `odd` has `bits` bits. */
static EVP_PKEY *make_odd_rsa(const char *odd, int bits)
{
    static const char *const parts[] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    BIGNUM *numbers[TG_COUNT_OF(parts)] = {NULL};
    EVP_PKEY *good = EVP_RSA_gen(2048);
    EVP_PKEY *made = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    for (size_t i = 0; i < TG_COUNT_OF(parts); i++) {
        assert_int_equal(EVP_PKEY_get_bn_param(good, parts[i], &numbers[i]), 1);
        if (strcmp(parts[i], odd) == 0)
            BN_rand(numbers[i], bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
        assert_int_equal(OSSL_PARAM_BLD_push_BN(builder, parts[i], numbers[i]), 1);
    }
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    for (size_t i = 0; i < TG_COUNT_OF(parts); i++)
        BN_free(numbers[i]);
    EVP_PKEY_free(good);
    return made;
}

/* OpenSSL would sign with these, and take seconds for it. */
static void keys_that_would_take_long_are_refused(void **state)
{
    static const struct {
        const char *part;
        int bits;
    } odd[] = {{OSSL_PKEY_PARAM_RSA_E, 1024},
               {OSSL_PKEY_PARAM_RSA_D, 8192},
               {OSSL_PKEY_PARAM_RSA_FACTOR1, 8192},
               {OSSL_PKEY_PARAM_RSA_FACTOR2, 1100},
               {OSSL_PKEY_PARAM_RSA_EXPONENT2, 8192}};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(odd); i++)
        run_with_key(make_odd_rsa(odd[i].part, odd[i].bits), NULL,
                     "refuses('bad_input', c.key(secret))\n");
    run_with_key(make_odd_rsa(OSSL_PKEY_PARAM_RSA_E, 1024), NULL,
                 "refuses('bad_input', c.key(public))\n");
    run_with_key(EVP_EC_gen("secp256k1"), NULL,
                 "refuses('bad_input', c.key(secret))\n"
                 "refuses('bad_input', c.key(public))\n");
}

static void keys_that_are_weak_or_odd_are_refused(void **state)
{
    (void)state;
    run_with_key(EVP_RSA_gen(1024), NULL, "refuses('bad_input', c.key(secret))\n");
    run_with_key(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), NULL,
                 "refuses('bad_input', c.key(public))\n");
}

/* A certificate that signs itself: CN=shop.example, two DNS names, an address, 1970 to 2000. */
static X509 *make_certificate(EVP_PKEY *pkey)
{
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    X509V3_CTX ctx;
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"shop.example", -1, -1, 0),
                     1);
    X509_set_issuer_name(x, name);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 4711);
    ASN1_TIME_set(X509_getm_notBefore(x), 86400);
    ASN1_TIME_set(X509_getm_notAfter(x), 946684800);
    X509_set_pubkey(x, pkey);
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name,
                                                "DNS:shop.example,IP:192.0.2.1,DNS:*.shop.example");
    assert_non_null(names);
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
    return x;
}

static void certificates_tell_names_dates_and_key(void **state)
{
    (void)state;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    run_with_key(pkey, make_certificate(pkey),
                 "local x = assert(c.x509_parse(certificate))\n"
                 "assert(x.subject == 'CN=shop.example' and x.issuer == x.subject)\n"
                 "assert(x.serial == '1267' and #x.fingerprint == 32)\n"
                 "assert(x.not_before == 86400 and x.not_after == 946684800)\n"
                 "assert(#x.dns_names == 2 and x.dns_names[2] == '*.shop.example')\n"
                 "local signature = c.sign(c.key(secret), 'ecdsa-sha256', 'data')\n"
                 "assert(c.verify(c.key(certificate), 'ecdsa-sha256', signature, 'data'))\n"
                 "refuses('bad_input', c.x509_parse(public))\n"
                 "refuses('bad_input', c.x509_parse '')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_signs_as_published),
        cmocka_unit_test(es256_of_a_published_token_is_genuine),
        cmocka_unit_test(rsa_and_elliptic_curves_sign_there_and_back),
        cmocka_unit_test(keys_that_are_weak_or_odd_are_refused),
        cmocka_unit_test(keys_that_would_take_long_are_refused),
        cmocka_unit_test(certificates_tell_names_dates_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
