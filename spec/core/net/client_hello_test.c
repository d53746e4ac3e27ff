/* net/client_hello: the name that a client asks for, and its fingerprint. */
#include "net/client_hello.h"

#include "support.h"

static struct tg_str name_in(const char *bytes, size_t n)
{
    return tg_client_hello_name((const unsigned char *)bytes, n);
}

static void a_name_is_found(void **state)
{
    (void)state;
    assert_true(tg_str_eq(name_in("\0\x09\0\0\x06"
                                  "a.test",
                                  11),
                          TG_STR("a.test")));
}

static void malformed_names_are_none(void **state)
{
    (void)state;
    assert_int_equal(name_in("", 0).n, 0);
    assert_int_equal(name_in("\0\x09\0\0\x06"
                             "a.tes",
                             10)
                         .n,
                     0); /* the list ends early */
    assert_int_equal(name_in("\0\x09\0\0\x07"
                             "a.test",
                             11)
                         .n,
                     0); /* the name ends late */
    assert_int_equal(name_in("\0\x09\1\0\x06"
                             "a.test",
                             11)
                         .n,
                     0); /* not a host name */
    assert_int_equal(name_in("\0\x09\0\0\x06"
                             "a\0test",
                             11)
                         .n,
                     0);
}

/* The example of JA4's own description: Chrome over TCP. */
static void a_fingerprint_is_that_of_the_description(void **state)
{
    struct tg_client_hello hello = {
        .version = 0x0304,
        .has_name = true,
        .ciphers = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                    0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
        .cipher_count = 15,
        .extensions = {0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005,
                       0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015},
        .extension_count = 16,
        .signatures = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
        .signature_count = 8,
        .alpn = {'h', '2'},
    };
    char ja4[TG_TLS_JA4_MAX];
    (void)state;
    tg_client_hello_ja4(&hello, ja4);
    assert_string_equal(ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

/* ---- Hellos as they come -----------------------------------------------------------------------
 */

/* The same client's, GREASE (0a0a, 1a1a) and all, with extensions that OpenSSL does not know. */
static const unsigned char chrome[] = {
    1,    0,    0,    176,  3,    3, /* the head, and TLS 1.2 for those who know no better */
    'r',  'a',  'n',  'd',  'o',  'm',  'r',  'a',  'n',  'd',  'o',  'm',  'r',  'a',  'n',
    'd', /* 16 of 32 */
    'o',  'm',  'r',  'a',  'n',  'd',  'o',  'm',  'r',  'a',  'n',  'd',  'o',  'm',  '.',
    '.', /* random */
    0,    0,    32,   0x0a, 0x0a, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f,
    0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9, 0xcc, 0xa8, 0xc0, 0x13, 0xc0, 0x14, 0x00, 0x9c, 0x00,
    0x9d, 0x00, 0x2f, 0x00, 0x35, 1,    0, /* compression */
    0,    103,                             /* extensions */
    0x1a, 0x1a, 0,    0,    0x00, 0x1b, 0,    0,    0x00, 0x00, 0,    0,    0x00, 0x33, 0,
    0, /* and so on */
    0x00, 0x10, 0,    5,    0,    3,    2,    'h',  '2',  0x44, 0x69, 0,    0,    0x00, 0x17,
    0,    0,    0x00, 0x2d, 0,    0,    0x00, 0x0d, 0,    18,   0,    16,   0x04, 0x03, 0x08,
    0x04, 0x04, 0x01, 0x05, 0x03, 0x08, 0x05, 0x05, 0x01, 0x08, 0x06, 0x06, 0x01, 0x00, 0x05,
    0,    0,    0x00, 0x23, 0,    0,    0x00, 0x12, 0,    0,    0x00, 0x2b, 0,    7,    6,
    0x0a, 0x0a, 0x03, 0x04, 0x03, 0x03, 0xff, 0x01, 0,    1,    0,    0x00, 0x0b, 0,    0,
    0x00, 0x0a, 0,    0,    0x00, 0x15, 0,    4,    0,    0,    0,    0};

static void a_hello_is_read_whole(void **state)
{
    struct tg_client_hello hello;
    char ja4[TG_TLS_JA4_MAX];
    (void)state;
    assert_true(tg_client_hello_read(chrome, sizeof(chrome), &hello));
    tg_client_hello_ja4(&hello, ja4);
    assert_string_equal(ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

/* Whatever is missing, what is read lies within what there is. */
static void a_hello_may_break_off_anywhere(void **state)
{
    struct tg_client_hello hello;
    (void)state;
    for (size_t n = 0; n < sizeof(chrome); n++) {
        unsigned char *part = test_malloc(n + 1);
        memcpy(part, chrome, n);
        assert_int_equal(tg_client_hello_read(part, n, &hello), n > 0);
        assert_true(hello.extension_count <= 16 && hello.cipher_count <= 15);
        test_free(part);
    }
    assert_false(tg_client_hello_read((const unsigned char *)"\2\0\0\0", 4, &hello));
}

static void an_empty_hello_has_zeroes(void **state)
{
    struct tg_client_hello hello = {.version = 0x0303, .alpn = {'0', '0'}};
    char ja4[TG_TLS_JA4_MAX];
    (void)state;
    tg_client_hello_ja4(&hello, ja4);
    assert_string_equal(ja4, "t12i000000_000000000000_000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_found),
        cmocka_unit_test(malformed_names_are_none),
        cmocka_unit_test(a_fingerprint_is_that_of_the_description),
        cmocka_unit_test(a_hello_is_read_whole),
        cmocka_unit_test(a_hello_may_break_off_anywhere),
        cmocka_unit_test(an_empty_hello_has_zeroes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
