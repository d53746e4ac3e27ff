/*
 * What a listener's certificates become: sets by name, facts, and every refusal with its reason;
 * and numbers of what makes connections to origins.
 */
#include "net/tls_context.h"

#include "tls_fixture.h"

#include "base/mem.h"
#include "net/tls_internal.h"

static struct identity ec, rsa, wide, deep, must, old, root, signed_one;

static int make(void **state)
{
    (void)state;
    identity_make(&ec, "DNS:a.test,DNS:b.test", false, 30, NULL, 0, NULL);
    identity_make(&rsa, "DNS:a.test", true, 30, NULL, 0, NULL);
    identity_make(&wide, "DNS:*.w.test", false, 30, NULL, 0, NULL);
    identity_make(&deep, "DNS:*.d.w.test", false, 30, NULL, 0, NULL);
    identity_make(&must, "DNS:m.test", false, 30, NULL, NID_tlsfeature, "status_request");
    identity_make(&old, "DNS:o.test", false, -1, NULL, 0, NULL);
    identity_make(&root, NULL, false, 30, NULL, 0, NULL);
    identity_make(&signed_one, "DNS:l.test", false, 30, &root, 0, NULL);
    return 0;
}

static int drop(void **state)
{
    struct identity *all[] = {&ec, &rsa, &wide, &deep, &must, &old, &root, &signed_one};
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(all); i++)
        identity_free(all[i]);
    return 0;
}

static int nothing_is_left(void **state)
{
    (void)state;
    return tg_mem_used(TG_MEM_CONFIG) == 0 ? 0 : -1;
}

static struct tg_tls_certificate of(const struct identity *id)
{
    return (struct tg_tls_certificate){.cert = tg_str_c(id->cert_pem),
                                       .key = tg_str_c(id->key_pem)};
}

static struct tg_tls_server_options options(const struct tg_tls_certificate *list, uint32_t n)
{
    return (struct tg_tls_server_options){.name = TG_STR("https"),
                                          .profile = TG_TLS_INTERMEDIATE,
                                          .certificates = list,
                                          .certificate_count = n,
                                          .tickets = true,
                                          .ticket_life = 3600 * TG_USEC_PER_SEC,
                                          .sessions = 10};
}

static void names_find_their_certificates(void **state)
{
    struct tg_tls_certificate list[] = {of(&ec), of(&rsa), of(&wide), of(&deep)};
    struct tg_tls_server_options o = options(list, 4);
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    (void)state;
    assert_int_equal(tg_tls_server_new(&o, &context, &why), TG_OK);
    SSL_CTX *both = tg_tls_context_find(context, TG_STR("a.test"));
    SSL_CTX *one = tg_tls_context_find(context, TG_STR("b.test"));
    SSL_CTX *below = tg_tls_context_find(context, TG_STR("x.w.test"));
    assert_true(both != NULL && one != NULL && below != NULL);
    assert_true(both != one && one != below);
    assert_ptr_equal(context->main, both);
    assert_ptr_equal(tg_tls_context_find(context, TG_STR("x.y.w.test")), below);
    assert_ptr_not_equal(tg_tls_context_find(context, TG_STR("x.d.w.test")), below);
    assert_null(tg_tls_context_find(context, TG_STR("w.test")));
    assert_null(tg_tls_context_find(context, TG_STR("c.test")));
    assert_null(tg_tls_context_find(context, TG_STR("")));
    assert_null(tg_tls_context_find(context, TG_STR("a.test.")));
    tg_tls_context_unref(&context);
    assert_null(context);
    tg_tls_context_unref(&context);
}

static void hosts_of_the_configuration_go_before_names(void **state)
{
    static const struct tg_str hosts[] = {{"Other.Test", 10}};
    struct tg_tls_certificate list[] = {of(&ec)};
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    (void)state;
    list[0].hosts = hosts;
    list[0].host_count = 1;
    struct tg_tls_server_options o = options(list, 1);
    assert_int_equal(tg_tls_server_new(&o, &context, &why), TG_OK);
    assert_non_null(tg_tls_context_find(context, TG_STR("other.test")));
    assert_null(tg_tls_context_find(context, TG_STR("a.test")));
    tg_tls_context_unref(&context);
}

static void leaves_tell_what_is_known(void **state)
{
    struct tg_tls_certificate list[] = {of(&ec), of(&must), of(&old), of(&rsa)};
    struct tg_tls_server_options o = options(list, 4);
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    struct tg_tls_leaf *leaves;
    (void)state;
    assert_int_equal(tg_tls_server_new(&o, &context, &why), TG_OK);
    assert_int_equal(tg_tls_context_leaves(context, &leaves), 4);
    assert_string_equal(leaves[0].name, "a.test");
    assert_string_equal(leaves[0].kind, "ECDSA");
    assert_string_equal(leaves[3].kind, "RSA");
    assert_true(!leaves[0].must_staple && leaves[1].must_staple);
    assert_true(leaves[2].not_after < time(NULL) && leaves[0].not_after > time(NULL) + 86400 * 29);
    assert_true(!leaves[1].staples && leaves[1].url == NULL);
    tg_tls_context_unref(&context);
}

static void expect_staple(struct tg_tls_leaf *leaf, int64_t now, const char *bytes)
{
    size_t n;
    unsigned char *copy = tg_tls_leaf_copy(leaf, now, &n);
    assert_int_equal(tg_tls_leaf_is_stapled(leaf, now), copy != NULL);
    assert_int_equal(n, strlen(bytes));
    assert_memory_equal(copy != NULL ? (const char *)copy : "", bytes, n);
    OPENSSL_free(copy);
}

/* Clients turn away from one that has ended, so it is shown no more, whoever fails to renew it. */
static void a_staple_is_shown_until_it_ends(void **state)
{
    struct tg_tls_certificate list[] = {of(&ec), of(&must)};
    struct tg_tls_server_options o = options(list, 2);
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    struct tg_tls_leaf *leaves;
    (void)state;
    assert_int_equal(tg_tls_server_new(&o, &context, &why), TG_OK);
    tg_tls_context_leaves(context, &leaves);
    expect_staple(&leaves[0], 1, "");
    assert_int_equal(tg_tls_leaf_inherit(&leaves[0], &leaves[1]), TG_OK); /* of who has none */
    expect_staple(&leaves[0], 1, "");
    assert_int_equal(tg_tls_leaf_staple(&leaves[1], TG_STR("bytes"), 1000), TG_OK);
    assert_int_equal(tg_tls_leaf_inherit(&leaves[0], &leaves[1]), TG_OK);
    for (int i = 0; i < 2; i++) {
        expect_staple(&leaves[i], 999, "bytes");
        expect_staple(&leaves[i], 1000, "");
    }
    assert_int_equal(tg_tls_leaf_staple(&leaves[0], TG_STR("more"), 0), TG_OK);
    expect_staple(&leaves[0], INT64_MAX, "more"); /* it does not say */
    tg_tls_context_unref(&context);
}

/* A gateway that starts anew with what it was told a week ago does start. */
static void a_response_of_a_file_may_have_expired(void **state)
{
    static unsigned char der[4096];
    (void)state;
    for (long until = -3600; until <= 3600; until += 7200) {
        struct tg_tls_certificate one = of(&signed_one);
        struct tg_tls_server_options o = options(&one, 1);
        struct tg_tls_context *context = NULL;
        struct tg_tls_problem why = {0};
        struct tg_tls_leaf *leaves;
        size_t n = identity_answer(signed_one.cert, &root, &root, V_OCSP_CERTSTATUS_GOOD, -7200,
                                   until, der, sizeof(der));
        one.staple.wanted = true;
        one.staple.response = tg_str((const char *)der, n);
        assert_int_equal(tg_tls_server_new(&o, &context, &why), TG_OK);
        tg_tls_context_leaves(context, &leaves);
        assert_int_equal(tg_tls_leaf_is_stapled(&leaves[0], time(NULL)), until > 0);
        tg_tls_context_unref(&context);
    }
}

/* What is wrong with a listener of these certificates. */
static struct tg_tls_problem refused(const struct tg_tls_certificate *list, uint32_t n)
{
    struct tg_tls_server_options o = options(list, n);
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    assert_int_equal(tg_tls_server_new(&o, &context, &why), TG_E_INVALID);
    assert_null(context);
    return why;
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct tg_tls_certificate mixed = {.cert = tg_str_c(ec.cert_pem),
                                       .key = tg_str_c(wide.key_pem)};
    struct tg_tls_problem why = refused((struct tg_tls_certificate[]){of(&rsa), mixed}, 2);
    assert_int_equal(why.certificate, 2);
    assert_string_equal(why.field, "key");
    struct tg_tls_certificate none = {.cert = TG_STR("nothing"), .key = tg_str_c(ec.key_pem)};
    assert_string_equal(refused(&none, 1).field, "cert");
    struct tg_tls_certificate no_key = {.cert = tg_str_c(ec.cert_pem), .key = TG_STR("nothing")};
    assert_string_equal(refused(&no_key, 1).field, "key");
    struct tg_tls_certificate twins[] = {of(&ec), of(&ec)};
    why = refused(twins, 2);
    assert_int_equal(why.certificate, 2);
    assert_non_null(strstr(why.text, "are both ECDSA and for a.test"));
}

/* Two certificates in one text, in this order, with the key of `ec`. */
static struct tg_tls_certificate chain_of(const struct identity *first,
                                          const struct identity *second, char room[16384])
{
    snprintf(room, 16384, "%s%s", first->cert_pem, second->cert_pem);
    return (struct tg_tls_certificate){.cert = tg_str_c(room), .key = tg_str_c(ec.key_pem)};
}

static void a_chain_in_the_wrong_order_is_told_so(void **state)
{
    char room[16384];
    (void)state;
    struct tg_tls_certificate one = chain_of(&wide, &ec, room);
    struct tg_tls_problem why = refused(&one, 1);
    assert_string_equal(why.field, "cert");
    assert_non_null(strstr(why.text, "has to stand first"));
}

static void a_staple_needs_somebody_to_ask(void **state)
{
    (void)state;
    struct tg_tls_certificate one = of(&ec);
    one.staple.wanted = true;
    struct tg_tls_problem why = refused(&one, 1);
    assert_string_equal(why.field, "ocsp");
    assert_non_null(strstr(why.text, "the certificate of the issuer has to stand behind"));
    char room[16384];
    one = chain_of(&ec, &wide, room);
    one.staple.wanted = true;
    why = refused(&one, 1);
    assert_non_null(strstr(why.text, "that stands second has not issued the first"));
}

static struct tg_tls_context *client(struct tg_tls_client_options o)
{
    struct tg_tls_context *context = NULL;
    struct tg_tls_problem why = {0};
    assert_int_equal(tg_tls_client_new(&o, &context, &why), TG_OK);
    return context;
}

static void equal_clients_have_equal_numbers(void **state)
{
    static const unsigned char pins[1][32] = {{1}};
    (void)state;
    struct tg_tls_client_options o = {.verify = true, .ca = tg_str_c(ec.cert_pem)};
    struct tg_tls_context *first = client(o);
    struct tg_tls_context *second = client(o);
    o.name = TG_STR("x.test");
    struct tg_tls_context *named = client(o);
    o.pins = pins;
    o.pin_count = 1;
    struct tg_tls_context *pinned = client(o);
    assert_true(tg_tls_context_id(first) != 0);
    assert_int_equal(tg_tls_context_id(first), tg_tls_context_id(second));
    assert_int_not_equal(tg_tls_context_id(first), tg_tls_context_id(named));
    assert_int_not_equal(tg_tls_context_id(named), tg_tls_context_id(pinned));
    tg_tls_context_unref(&first);
    tg_tls_context_unref(&second);
    tg_tls_context_unref(&named);
    tg_tls_context_unref(&pinned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(names_find_their_certificates, nothing_is_left),
        cmocka_unit_test_teardown(hosts_of_the_configuration_go_before_names, nothing_is_left),
        cmocka_unit_test_teardown(leaves_tell_what_is_known, nothing_is_left),
        cmocka_unit_test_teardown(a_staple_is_shown_until_it_ends, nothing_is_left),
        cmocka_unit_test_teardown(a_response_of_a_file_may_have_expired, nothing_is_left),
        cmocka_unit_test_teardown(what_does_not_fit_is_refused, nothing_is_left),
        cmocka_unit_test_teardown(a_chain_in_the_wrong_order_is_told_so, nothing_is_left),
        cmocka_unit_test_teardown(a_staple_needs_somebody_to_ask, nothing_is_left),
        cmocka_unit_test_teardown(equal_clients_have_equal_numbers, nothing_is_left),
    };
    return cmocka_run_group_tests_name("tls_context", tests, make, drop);
}
