/*
 * Digests of credentials: kinds apart, and memory that is refused while the secret is drawn, at the
 * first use, is an error of that use and no more. What else they are for is in declared_test.c.
 */
#include "base/banned.h"
#include "consumer/digest.h"

#include "base/mem.h"
#include "cli/libraries.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALLOCATIONS 40 /* more than the first use asks for */

enum { NOTHING_REFUSED, TRIED_AGAIN, WRONG };

/* What comes of a first use whose `nth` allocation fails, in a process of its own: the secret is
 * drawn once in each. */
static int first_use(uint64_t nth)
{
    unsigned char one[TG_CREDENTIAL_DIGEST], two[TG_CREDENTIAL_DIGEST];
    tg_mem_fail_at(nth);
    enum tg_err err = tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("value"), one);
    tg_mem_fail_at(0);
    int outcome = err == TG_OK ? NOTHING_REFUSED : TRIED_AGAIN;
    if (err == TG_E_NOMEM)
        err = tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("value"), one);
    if (err == TG_OK)
        err = tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("value"), two);
    return err == TG_OK && tg_credential_digest_eq(one, two) ? outcome : WRONG;
}

static void test_what_fails_at_the_first_use_is_tried_again(void **state)
{
    unsigned tried_again = 0;
    (void)state;
    for (uint64_t nth = 1; nth <= ALLOCATIONS; nth++) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
            _exit(first_use(nth));
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_in_range(WEXITSTATUS(status), NOTHING_REFUSED, TRIED_AGAIN);
        tried_again += WEXITSTATUS(status) == TRIED_AGAIN;
    }
    assert_true(tried_again > 2);
}

static void test_a_kind_and_a_value_make_a_digest(void **state)
{
    unsigned char key[TG_CREDENTIAL_DIGEST], other[TG_CREDENTIAL_DIGEST];
    (void)state;
    assert_int_equal(tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("value"), key), TG_OK);
    assert_int_equal(tg_credential_digest(TG_CREDENTIAL_KEY, TG_STR("valuf"), other), TG_OK);
    assert_false(tg_credential_digest_eq(key, other));
    assert_int_equal(tg_credential_digest(TG_CREDENTIAL_SUBJECT, TG_STR("value"), other), TG_OK);
    assert_false(tg_credential_digest_eq(key, other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fails_at_the_first_use_is_tried_again),
        cmocka_unit_test(test_a_kind_and_a_value_make_a_digest),
    };
    tg_libraries_adopt(); /* so that OpenSSL's memory can be refused; */
    tg_mem_fail_at(0);    /* it does not bear that while it sets itself up */
    EVP_MD_free(EVP_MD_fetch(NULL, "sha256", NULL));
    return cmocka_run_group_tests_name("credential digests", tests, NULL, NULL);
}
