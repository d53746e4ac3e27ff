/* crypto_test.c: tg.crypto against published answers: FIPS 180-4's examples, RFC 4231 (HMAC), RFC
 * 7914 (PBKDF2), the GCM specification's cases 13 and 14, RFC 8439 (ChaCha20-Poly1305), RFC 8032
 * (Ed25519); other signatures there and back with keys made here, and what is refused.
 */
#include "base/banned.h"
#include "bind/library.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define IS(expr, digits) "assert(tg.hex.encode(" expr ") == '" digits "')\n"

static void digests_have_the_published_values(void **state)
{
    (void)state;
    library_run(
        "local c = tg.crypto\n" IS(
            "c.sha256 'abc'", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
            IS("c.sha256 ''", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
                IS("c.sha384 'abc'",
                   "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                   "8086072ba1e7cc2358baeca134c825a7")
                    IS("c.sha512 'abc'",
                       "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                       "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"));
}

static void hmacs_have_the_published_values(void **state)
{
    (void)state;
    library_run(
        "local c = tg.crypto\n" IS(
            "c.hmac('sha256', ('\\11'):rep(20), 'Hi There')",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
            IS("c.hmac('sha384', 'Jefe', 'what do ya want for nothing?')",
               "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
               "8e2240ca5e69e2c78b3239ecfab21649")
                IS("c.hmac('sha512', ('\\170'):rep(131), "
                   "'Test Using Larger Than Block-Size Key - Hash Key First')",
                   "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
                   "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598") "assert(#c."
                                                                                       "hmac('"
                                                                                       "sha256', "
                                                                                       "'', '') == "
                                                                                       "32)");
}

static void keys_are_derived_in_slices(void **state)
{
    (void)state;
    library_run(
        "local c = tg.crypto\n" IS(
            "c.pbkdf2('sha256', 'passwd', 'salt', 1, 64)",
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
            "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783")
        /* two blocks, several steps, the last of each cut: compared with another library */
        IS("c.pbkdf2('sha512', 'password', 'salt', 1201, 80)",
           "5110cede3490345572595d8172624f61c7e471b1cf8a7af546a3dd08799f92fd4bbe5fd25637a640"
           "46083b2f99b339a5ab7a0a0ed64eff4a7e84e63d52a2e9171a7e69b119715db681fd4bece06b6e"
           "01") "assert(#c.pbkdf2('sha384', '', '', 2, 1) == 1)\n"
                 "fails('probe.lua:20: tg.crypto.pbkdf2(): argument 4 (iterations): expected',"
                 "\n"
                 "  function() c.pbkdf2('sha256', 'a', 'b', 0, 1) end)\n"
                 "fails('argument 5 (size)', c.pbkdf2, 'sha256', 'a', 'b', 1, 1025)\n"
                 "fails('argument 2 (password): more than', c.pbkdf2, 'sha256', "
                 "('a'):rep(5000), 'b', 1, 1)\n");
}

static void comparison_and_random_bytes(void **state)
{
    (void)state;
    library_run("local c = tg.crypto\n"
                "assert(c.equal('', '') and c.equal('a\\0b', 'a\\0b'))\n"
                "assert(not c.equal('a', 'b') and not c.equal('a', 'ab'))\n"
                "assert(#c.random(1) == 1 and #c.random(65536) == 65536)\n"
                "assert(c.random(16) ~= c.random(16))\n"
                "fails('argument 1 (n): expected an integer from 1 to 65536', c.random, 0)\n"
                "fails('argument 1 (digest): expected \"sha256\", \"sha384\" or \"sha512\"', "
                "c.hmac, 'md5', 'k', 'd')\n"
                "fails('argument 2 (b): expected a string, got nothing', c.equal, 'a')\n");
}

static void sealed_data_opens_with_the_same_values_only(void **state)
{
    (void)state;
    library_run(
        "local c = tg.crypto\n"
        "local zero, nonce = ('\\0'):rep(32), ('\\0'):rep(12)\n" IS(
            "c.aead_seal('aes-256-gcm', zero, nonce, '')", "530f8afbc74536b9a963b4f1c4cb738b")
            IS("c.aead_seal('aes-256-gcm', zero, nonce, "
               "('\\0'):rep(16))",
               "cea7403d4d606b6e074ec5d3baf39d18"
               "d0d1c8a799996bf0265b98b5d48ab919") "local key = hex "
                                                   "'808182838485868788898a8b8c8d8e8f90919293949596"
                                                   "9798999a9b9c9d9e9f'\n"
                                                   "local n2, extra = hex "
                                                   "'070000004041424344454647', hex "
                                                   "'50515253c0c1c2c3c4c5c6c7'\n"
                                                   "local text = [[Ladies and Gentlemen of the "
                                                   "class of '99: If I could offer you only one "
                                                   "tip for the future, sunscreen would be it.]]\n"
                                                   "local sealed = "
                                                   "c.aead_seal('chacha20-poly1305', key, n2, "
                                                   "text, extra)\n"
                                                   "assert(tg.hex.encode(sealed:sub(1, 16)) == "
                                                   "'d31a8d34648e60db7b86afbc53ef7ec2')\n"
                                                   "assert(tg.hex.encode(sealed:sub(-16)) == "
                                                   "'1ae10b594f09e26a7e902ecbd0600691')\n"
                                                   "assert(c.aead_open('chacha20-poly1305', key, "
                                                   "n2, sealed, extra) == text)\n"
                                                   "refuses('bad_input', "
                                                   "c.aead_open('chacha20-poly1305', key, n2, "
                                                   "sealed, 'x'))\n"
                                                   "refuses('bad_input', "
                                                   "c.aead_open('chacha20-poly1305', key, n2, "
                                                   "sealed:sub(2), extra))\n"
                                                   "refuses('bad_input', "
                                                   "c.aead_open('aes-256-gcm', key, n2, sealed, "
                                                   "extra))\n"
                                                   "refuses('bad_input', "
                                                   "c.aead_open('aes-256-gcm', key, n2, 'short'))\n"
                                                   "assert(c.aead_open('aes-256-gcm', zero, nonce, "
                                                   "c.aead_seal('aes-256-gcm', zero, nonce, "
                                                   "'')) == '')\n"
                                                   "fails('argument 2 (key): expected 32 bytes', "
                                                   "c.aead_seal, 'aes-256-gcm', 'k', nonce, '')\n"
                                                   "fails('argument 3 (nonce): expected 12 bytes', "
                                                   "c.aead_seal, 'aes-256-gcm', zero, '', '')\n"
                                                   "fails('argument 1 (cipher)', c.aead_seal, "
                                                   "'des', zero, nonce, '')\n");
}

/* An Ed25519 key as PKCS#8 (RFC 8410, 7): a constant head and the 32 bytes of the seed. */
static void ed25519_signs_as_published(void **state)
{
    (void)state;
    library_run(
        "local c = tg.crypto\n"
        "local function pem(kind, digits)\n"
        "  return ('-----BEGIN %s-----\\n%s\\n-----END %s-----\\n'):format(kind,\n"
        "    tg.base64.encode(hex(digits)), kind)\n"
        "end\n"
        "local key = assert(c.key(pem('PRIVATE KEY', '302e020100300506032b657004220420' ..\n"
        "  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb')))\n"
        "local public = assert(c.key(pem('PUBLIC KEY', '302a300506032b6570032100' ..\n"
        "  '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c')))\n"
        "local signature = c.sign(key, 'ed25519', '\\114')\n" IS(
            "signature",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00") "assert(c.verify("
                                                                                "public, "
                                                                                "'ed25519', "
                                                                                "signature, "
                                                                                "'\\114'))\n"
                                                                                "assert(not "
                                                                                "c.verify(public, "
                                                                                "'ed25519', "
                                                                                "signature, "
                                                                                "'\\115'))\n"
                                                                                "assert(not "
                                                                                "c.verify(public, "
                                                                                "'ed25519', "
                                                                                "'short', "
                                                                                "'\\114'))\n"
                                                                                "fails('the key is "
                                                                                "of another kind', "
                                                                                "c.sign, key, "
                                                                                "'ecdsa-sha256', "
                                                                                "'x')\n"
                                                                                "fails('argument 1 "
                                                                                "(key): a public "
                                                                                "key verifies', "
                                                                                "c.sign, public, "
                                                                                "'ed25519', 'x')\n"
                                                                                "fails('argument 2 "
                                                                                "(algorithm): "
                                                                                "expected', "
                                                                                "c.sign, key, "
                                                                                "'none', 'x')\n"
                                                                                "fails('argument 1 "
                                                                                "(key): expected "
                                                                                "what', c.sign, "
                                                                                "'key', 'ed25519', "
                                                                                "'x')\n"
                                                                                "fails('argument 1 "
                                                                                "(key): expected "
                                                                                "what', c.sign, "
                                                                                "ctx, 'ed25519', "
                                                                                "'x')\n"
                                                                                "assert(tostring("
                                                                                "key) == 'key' and "
                                                                                "getmetatable(key) "
                                                                                "== false)\n"
                                                                                "refuses('bad_"
                                                                                "input', c.key "
                                                                                "'')\n"
                                                                                "refuses('bad_"
                                                                                "input', c.key "
                                                                                "'nothing of the "
                                                                                "kind')\n"
                                                                                "refuses('bad_"
                                                                                "input', "
                                                                                "c.key(pem('"
                                                                                "PRIVATE KEY', "
                                                                                "'3000')))\n"
                                                                                "refuses('bad_"
                                                                                "input', "
                                                                                "c.key(('x'):rep("
                                                                                "20000)))\n");
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
    run_with_key(EVP_EC_gen("P-521"), NULL, "both 'ecdsa-sha512'\n");
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
        cmocka_unit_test(digests_have_the_published_values),
        cmocka_unit_test(hmacs_have_the_published_values),
        cmocka_unit_test(keys_are_derived_in_slices),
        cmocka_unit_test(comparison_and_random_bytes),
        cmocka_unit_test(sealed_data_opens_with_the_same_values_only),
        cmocka_unit_test(ed25519_signs_as_published),
        cmocka_unit_test(rsa_and_elliptic_curves_sign_there_and_back),
        cmocka_unit_test(keys_that_are_weak_or_odd_are_refused),
        cmocka_unit_test(keys_that_would_take_long_are_refused),
        cmocka_unit_test(certificates_tell_names_dates_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
