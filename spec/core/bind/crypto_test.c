/* crypto_test.c: tg.crypto against published answers: FIPS 180-4's examples, RFC 4231 (HMAC), RFC
 * 7914 (PBKDF2), the GCM specification's cases 13 and 14, RFC 8439 (ChaCha20-Poly1305). Keys and
 * signatures: crypto_key_test.c.
 */
#include "base/banned.h"
#include "bind/library.h"

#define HEAD                                                                                       \
    "local c = tg.crypto "                                                                         \
    "local function is(bytes, digits) assert(tg.hex.encode(bytes) == digits) end\n"

static void digests_have_the_published_values(void **state)
{
    (void)state;
    library_run(HEAD "is(c.sha256 'abc',\n"
                     "   'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')\n"
                     "is(c.sha256 '',\n"
                     "   'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')\n"
                     "is(c.sha384 'abc',\n"
                     "   'cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed' ..\n"
                     "   '8086072ba1e7cc2358baeca134c825a7')\n"
                     "is(c.sha512 'abc',\n"
                     "   'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a' ..\n"
                     "   '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f')\n");
}

static void hmacs_have_the_published_values(void **state)
{
    (void)state;
    library_run(HEAD "is(c.hmac('sha256', ('\\11'):rep(20), 'Hi There'),\n"
                     "   'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7')\n"
                     "is(c.hmac('sha384', 'Jefe', 'what do ya want for nothing?'),\n"
                     "   'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e' ..\n"
                     "   '8e2240ca5e69e2c78b3239ecfab21649')\n"
                     "is(c.hmac('sha512', ('\\170'):rep(131), 'Test Using Larger Than Block-Size "
                     "Key - Hash Key First'),\n"
                     "   '80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352' ..\n"
                     "   '6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598')\n"
                     "assert(#c.hmac('sha256', '', '') == 32)");
}

static void keys_are_derived_in_slices(void **state)
{
    (void)state;
    library_run(HEAD
                "is(c.pbkdf2('sha256', 'passwd', 'salt', 1, 64),\n"
                "   '55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc' ..\n"
                "   '49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783')\n"
                "is(c.pbkdf2('sha512', 'password', 'salt', 1201, 80),\n"
                "   '5110cede3490345572595d8172624f61c7e471b1cf8a7af546a3dd08799f92fd' ..\n"
                "   '4bbe5fd25637a64046083b2f99b339a5ab7a0a0ed64eff4a7e84e63d52a2e917' ..\n"
                "   '1a7e69b119715db681fd4bece06b6e01')\n"
                "assert(#c.pbkdf2('sha384', '', '', 2, 1) == 1)\n"
                "fails('probe.lua:25: tg.crypto.pbkdf2(): argument 4 (iterations): expected',\n"
                "  function() c.pbkdf2('sha256', 'a', 'b', 0, 1) end)\n"
                "fails('argument 5 (size)', c.pbkdf2, 'sha256', 'a', 'b', 1, 1025)\n"
                "fails('argument 2 (password): more than', c.pbkdf2, 'sha256', ('a'):rep(5000), "
                "'b', 1, 1)\n");
}

static void comparison_and_random_bytes(void **state)
{
    (void)state;
    library_run(HEAD "assert(c.equal('', '') and c.equal('a\\0b', 'a\\0b'))\n"
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
        HEAD
        "local zero, nonce = ('\\0'):rep(32), ('\\0'):rep(12)\n"
        "is(c.aead_seal('aes-256-gcm', zero, nonce, ''),\n"
        "   '530f8afbc74536b9a963b4f1c4cb738b')\n"
        "is(c.aead_seal('aes-256-gcm', zero, nonce, ('\\0'):rep(16)),\n"
        "   'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919')\n"
        "local key = hex '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'\n"
        "local n2, extra = hex '070000004041424344454647', hex '50515253c0c1c2c3c4c5c6c7'\n"
        "local text = [[Ladies and Gentlemen of the class of '99: If I could offer you only one "
        "tip for the future, sunscreen would be it.]]\n"
        "local sealed = c.aead_seal('chacha20-poly1305', key, n2, text, extra)\n"
        "assert(tg.hex.encode(sealed:sub(1, 16)) == 'd31a8d34648e60db7b86afbc53ef7ec2')\n"
        "assert(tg.hex.encode(sealed:sub(-16)) == '1ae10b594f09e26a7e902ecbd0600691')\n"
        "assert(c.aead_open('chacha20-poly1305', key, n2, sealed, extra) == text)\n"
        "refuses('bad_input', c.aead_open('chacha20-poly1305', key, n2, sealed, 'x'))\n"
        "refuses('bad_input', c.aead_open('chacha20-poly1305', key, n2, sealed:sub(2), extra))\n"
        "refuses('bad_input', c.aead_open('aes-256-gcm', key, n2, sealed, extra))\n"
        "refuses('bad_input', c.aead_open('aes-256-gcm', key, n2, 'short'))\n"
        "assert(c.aead_open('aes-256-gcm', zero, nonce, c.aead_seal('aes-256-gcm', zero, nonce, "
        "'')) == '')\n"
        "fails('argument 2 (key): expected 32 bytes', c.aead_seal, 'aes-256-gcm', 'k', nonce, '')\n"
        "fails('argument 3 (nonce): expected 12 bytes', c.aead_seal, 'aes-256-gcm', zero, '', '')\n"
        "fails('argument 1 (cipher)', c.aead_seal, 'des', zero, nonce, '')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_have_the_published_values),
        cmocka_unit_test(hmacs_have_the_published_values),
        cmocka_unit_test(keys_are_derived_in_slices),
        cmocka_unit_test(comparison_and_random_bytes),
        cmocka_unit_test(sealed_data_opens_with_the_same_values_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
