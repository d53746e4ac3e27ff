/*
 * Messages of DNS servers: records of each kind, how long they may be kept, and what is no message.
 */
#include "upstream/dns_answer.h"

#include "support.h"

#define SEC TG_USEC_PER_SEC

static unsigned char message[4096];
static size_t size;

static union {
    struct tg_answer answer;
    char room[sizeof(struct tg_answer) + TG_ANSWER_MAX * sizeof(struct tg_record)];
} out;

static void add(const void *p, size_t n)
{
    assert_true(size + n <= sizeof(message));
    memcpy(message + size, p, n);
    size += n;
}

static void add_u16(unsigned value)
{
    unsigned char bytes[] = {(unsigned char)(value >> 8), (unsigned char)value};
    add(bytes, 2);
}

static void add_u32(uint32_t value)
{
    add_u16(value >> 16);
    add_u16(value & 0xffff);
}

static void add_name(const char *name)
{
    while (*name != '\0') {
        size_t n = strcspn(name, ".");
        unsigned char length = (unsigned char)n;
        add(&length, 1);
        add(name, n);
        name += n + (name[n] == '.');
    }
    add("", 1);
}

/* A response to a question for a.test with so many records to follow. */
static void begin(unsigned type, unsigned answers, unsigned authority)
{
    memset(&out, 0, sizeof(out));
    size = 0;
    add_u16(1);
    add_u16(0x8180);
    add_u16(1);
    add_u16(answers);
    add_u16(authority);
    add_u16(0);
    add_name("a.test");
    add_u16(type);
    add_u16(1);
}

static void add_record(const char *name, unsigned type, uint32_t ttl, size_t length)
{
    add_name(name);
    add_u16(type);
    add_u16(1);
    add_u32(ttl);
    add_u16((unsigned)length);
}

static enum tg_answer_kind read_as(enum tg_dns_type type, uint64_t *ttl)
{
    return tg_dns_answer_read(type, message, size, &out.answer, ttl);
}

static void test_addresses_and_the_least_ttl(void **state)
{
    uint64_t ttl;
    char room[TG_ADDR_TEXT_MAX];
    (void)state;
    begin(1, 2, 0);
    add_record("a.test", 1, 300, 4);
    add("\x0a\0\0\1", 4);
    add_record("a.test", 1, 20, 4);
    add("\x0a\0\0\2", 4);
    assert_int_equal(read_as(TG_DNS_A, &ttl), TG_ANSWER_RECORDS);
    assert_int_equal(out.answer.n, 2);
    assert_string_equal(tg_addr_ip_text(&out.answer.records[0].addr, room).p, "10.0.0.1");
    assert_int_equal(ttl, 20 * SEC);
}

static void test_both_families_go_into_one_answer(void **state)
{
    uint64_t ttl;
    char room[TG_ADDR_TEXT_MAX];
    (void)state;
    begin(28, 1, 0);
    add_record("a.test", 28, 60, 16);
    add("\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    out.answer.n = 1; /* of the other one */
    assert_int_equal(read_as(TG_DNS_AAAA, &ttl), TG_ANSWER_RECORDS);
    assert_int_equal(out.answer.n, 2);
    assert_string_equal(tg_addr_ip_text(&out.answer.records[1].addr, room).p, "fd00::1");
}

static void test_servers(void **state)
{
    uint64_t ttl;
    (void)state;
    begin(33, 3, 0);
    add_record("a.test", 33, 60, 6 + 8);
    add("\0\x0a\0\5\x1f\x90", 6);
    add_name("X.Test");
    add_record("a.test", 33, 60, 6 + 1); /* "." says that there is no such service */
    add("\0\0\0\0\x1f\x90", 6);
    add_name("");
    add_record("a.test", 33, 60, 6 + 8); /* no port */
    add("\0\0\0\0\0\0", 6);
    add_name("y.test");
    assert_int_equal(read_as(TG_DNS_SRV, &ttl), TG_ANSWER_RECORDS);
    assert_int_equal(out.answer.n, 1);
    assert_string_equal(out.answer.records[0].target, "x.test");
    assert_int_equal(out.answer.records[0].priority, 10);
    assert_int_equal(out.answer.records[0].weight, 5);
    assert_int_equal(out.answer.records[0].port, 8080);
    assert_int_equal(ttl, 60 * SEC);
}

static void test_absence_is_kept_as_the_soa_record_says(void **state)
{
    uint64_t ttl;
    (void)state;
    begin(1, 0, 1);
    add_record("test", 6, 900, 2 + 20);
    add("\0\0", 2);
    for (uint32_t i = 1; i <= 5; i++)
        add_u32(i == 5 ? 30 : 1);
    assert_int_equal(read_as(TG_DNS_A, &ttl), TG_ANSWER_NONE);
    assert_int_equal(ttl, 30 * SEC);
    begin(1, 0, 0);
    assert_int_equal(read_as(TG_DNS_A, &ttl), TG_ANSWER_NONE);
    assert_int_equal(ttl, 0);
}

static void test_a_ttl_of_the_upper_half_is_none(void **state)
{
    uint64_t ttl;
    (void)state;
    begin(1, 1, 0);
    add_record("a.test", 1, 0x80000000u, 4);
    add("\x0a\0\0\1", 4);
    assert_int_equal(read_as(TG_DNS_A, &ttl), TG_ANSWER_RECORDS);
    assert_int_equal(ttl, 0);
}

static void test_what_is_cut_or_is_no_message_is_a_failure(void **state)
{
    uint64_t ttl;
    (void)state;
    begin(1, 1, 0);
    add_record("a.test", 1, 60, 4);
    add("\x0a\0\0\1", 4);
    for (size_t n = 0; n < size; n++) {
        memset(&out, 0, sizeof(out));
        assert_int_equal(tg_dns_answer_read(TG_DNS_A, message, n, &out.answer, &ttl),
                         TG_ANSWER_FAILED);
        assert_int_equal(out.answer.n, 0);
    }
    assert_int_equal(tg_dns_answer_read(TG_DNS_A, NULL, 0, &out.answer, &ttl), TG_ANSWER_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_and_the_least_ttl),
        cmocka_unit_test(test_both_families_go_into_one_answer),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_absence_is_kept_as_the_soa_record_says),
        cmocka_unit_test(test_a_ttl_of_the_upper_half_is_none),
        cmocka_unit_test(test_what_is_cut_or_is_no_message_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
