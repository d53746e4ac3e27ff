/*
 * net/tls_shared and net/tls_leaf under several threads, for the thread sanitizer: tickets while
 * keys change, sessions of origins kept and asked for, and staples that are replaced while
 * handshakes copy them.
 */
#include "net/tls_shared.h"

#include "tls_fixture.h"

#include "net/tls_leaf.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS  2000

static struct tg_tls_shared *shared;
static struct identity id;
static struct tg_tls_leaf leaf;

static int setup(void **state)
{
    struct tg_tls_problem why = {0};
    struct tg_tls_staple_options options = {.wanted = false};
    (void)state;
    identity_make(&id, "DNS:a.test", false, 30, NULL, 0, NULL);
    struct tg_tls_credentials credentials = {.leaf = id.cert, .key = id.key};
    shared = tg_tls_shared_new();
    return shared != NULL && tg_tls_leaf_init(&leaf, &credentials, &options, &why) == TG_OK ? 0
                                                                                            : -1;
}

static int teardown(void **state)
{
    (void)state;
    tg_tls_leaf_release(&leaf);
    tg_tls_shared_free(&shared);
    identity_free(&id);
    return 0;
}

static int ticket(uint64_t now, unsigned char name[16], unsigned char iv[16], int encrypts)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    int result = tg_tls_shared_ticket(shared, 1000, now, name, iv, cipher, mac, encrypts);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(hmac);
    EVP_CIPHER_CTX_free(cipher);
    return result;
}

/* Each thread's clock runs through some twenty keys. A ticket of its own is good at once: so much
 * does no other thread's clock run ahead that three keys have gone. */
static void *use_tickets(void *arg)
{
    uintptr_t wrong = 0;
    (void)arg;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        unsigned char name[16], iv[16];
        wrong += ticket(i * 5, name, iv, 1) != 1;
        (void)ticket(i * 5, name, iv, 0);
    }
    return (void *)wrong;
}

static void *use_staples(void *arg)
{
    static const struct tg_str texts[] = {{"aaaa", 4}, {"bbbbbbbb", 8}};
    uintptr_t wrong = 0;
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t n;
        if (arg != NULL && tg_tls_leaf_staple(&leaf, texts[i % 2], i % 3 == 0 ? 1 : 0) != TG_OK)
            wrong++;
        unsigned char *copy = tg_tls_leaf_copy(&leaf, 2, &n);
        for (size_t k = 0; copy != NULL && k < n; k++)
            wrong += copy[k] != (n == 4 ? 'a' : 'b');
        OPENSSL_free(copy);
    }
    return (void *)wrong;
}

static void run(void *(*body)(void *arg))
{
    pthread_t threads[THREADS];
    uintptr_t wrong = 0;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, i == 0 ? &leaf : NULL), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *count;
        assert_int_equal(pthread_join(threads[i], &count), 0);
        wrong += (uintptr_t)count;
    }
    assert_int_equal(wrong, 0); /* after all have ended: a failure releases what they use */
}

static void keys_of_tickets_change_under_many(void **state)
{
    (void)state;
    run(use_tickets);
}

static void staples_are_whole_whoever_replaces_them(void **state)
{
    (void)state;
    run(use_staples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_of_tickets_change_under_many, setup, teardown),
        cmocka_unit_test_setup_teardown(staples_are_whole_whoever_replaces_them, setup, teardown),
    };
    return cmocka_run_group_tests_name("tls_shared_thread", tests, NULL, NULL);
}
