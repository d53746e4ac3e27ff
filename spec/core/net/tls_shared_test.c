/* net/tls_shared: keys of tickets come and go; sessions of origins are kept within bounds. */
#include "net/tls_shared.h"

#include "support.h"

#define LIFE (100 * TG_USEC_PER_SEC)

static struct tg_tls_shared *shared;
static unsigned char name[16];
static unsigned char iv[16];

static int setup(void **state)
{
    (void)state;
    shared = tg_tls_shared_new();
    return shared != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tg_tls_shared_free(&shared);
    return 0;
}

static int ticket(uint64_t now, bool encrypts)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    int result =
        tg_tls_shared_ticket(shared, LIFE, now * TG_USEC_PER_SEC, name, iv, cipher, mac, encrypts);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(hmac);
    EVP_CIPHER_CTX_free(cipher);
    return result;
}

static void a_ticket_is_taken_as_long_as_its_key_is_known(void **state)
{
    unsigned char first[16];
    (void)state;
    assert_int_equal(ticket(1000, true), 1);
    memcpy(first, name, sizeof(first));
    assert_int_equal(ticket(1049, false), 1);
    assert_int_equal(ticket(1060, true), 1); /* the key was half of the life old: a new one */
    assert_memory_not_equal(first, name, sizeof(first));
    memcpy(name, first, sizeof(first));
    assert_int_equal(ticket(1060, false), 2); /* taken, and renewed */
    assert_int_equal(ticket(1149, false), 2);
    assert_int_equal(ticket(1151, false), 0);
}

static void unknown_keys_mean_a_full_handshake(void **state)
{
    (void)state;
    memset(name, 7, sizeof(name));
    assert_int_equal(ticket(1000, false), 0);
}

static void clocks_that_lag_do_not_rotate(void **state)
{
    unsigned char first[16];
    (void)state;
    assert_int_equal(ticket(1000, true), 1);
    memcpy(first, name, sizeof(first));
    assert_int_equal(ticket(999, true), 1);
    assert_memory_equal(first, name, sizeof(first));
}

static void sessions_are_found_by_key_and_end(void **state)
{
    SSL_SESSION *session = SSL_SESSION_new();
    (void)state;
    tg_tls_shared_put(shared, TG_STR("a"), session, 1);
    SSL_SESSION *found = tg_tls_shared_get(shared, TG_STR("a"), 2);
    assert_ptr_equal(found, session);
    SSL_SESSION_free(found);
    assert_null(tg_tls_shared_get(shared, TG_STR("b"), 2));
    tg_tls_shared_put(shared, TG_STR("a"), SSL_SESSION_new(), 3);
    found = tg_tls_shared_get(shared, TG_STR("a"), 3);
    assert_ptr_not_equal(found, NULL);
    SSL_SESSION_free(found);
    assert_null(tg_tls_shared_get(shared, TG_STR("a"), 3601 * TG_USEC_PER_SEC + 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ticket_is_taken_as_long_as_its_key_is_known, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unknown_keys_mean_a_full_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(clocks_that_lag_do_not_rotate, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_are_found_by_key_and_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
