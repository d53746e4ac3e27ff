/* net/proxy_header: both versions, read strictly and written. */
#include "net/proxy_header.h"

#include "support.h"

static struct tg_proxy_header h;

static enum tg_err read_text(const char *text)
{
    return tg_proxy_header_read(text, strlen(text), &h);
}

static const char *client_text(void)
{
    static char room[TG_ADDR_TEXT_MAX];
    return tg_addr_text(&h.client, room).p;
}

static void version_1_is_read(void **state)
{
    (void)state;
    assert_int_equal(read_text("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\nGET / HTTP"), TG_OK);
    assert_int_equal(h.size, 41);
    assert_string_equal(client_text(), "192.0.2.7:56324");
    assert_int_equal(tg_addr_port(&h.local), 443);
    assert_int_equal(read_text("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), TG_OK);
    assert_string_equal(client_text(), "[2001:db8::1]:0");
    assert_int_equal(read_text("PROXY TCP6 ::ffff:192.0.2.7 ::1 80 443\r\n"), TG_OK);
    assert_string_equal(client_text(), "192.0.2.7:80");
    assert_int_equal(read_text("PROXY UNKNOWN whatever it is\r\n"), TG_OK);
    assert_int_equal(h.client.len, 0);
}

static void version_1_is_read_strictly(void **state)
{
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\n",
        "PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP4 ::ffff:1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
    };
    (void)state;
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++)
        assert_int_equal(read_text(bad[i]), TG_E_PROTOCOL);
    char line[200] = "PROXY UNKNOWN ";
    memset(line + 14, 'x', 150);
    assert_int_equal(tg_proxy_header_read(line, 106, &h), TG_E_AGAIN);
    assert_int_equal(tg_proxy_header_read(line, 107, &h), TG_E_PROTOCOL);
}

static void version_2_is_bounded(void **state)
{
    char bytes[16] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x02\x09";
    (void)state;
    assert_int_equal(tg_proxy_header_read(bytes, 16, &h), TG_E_LIMIT);
    bytes[15] = '\x08';
    assert_int_equal(tg_proxy_header_read(bytes, 16, &h), TG_E_AGAIN);
    bytes[14] = 0;
    assert_int_equal(tg_proxy_header_read(bytes, 16, &h), TG_E_AGAIN);
    bytes[12] = '\x22'; /* command 2 */
    assert_int_equal(tg_proxy_header_read(bytes, 16, &h), TG_E_PROTOCOL);
}

static void addresses_too_short_are_refused(void **state)
{
    char bytes[24] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x08";
    (void)state;
    assert_int_equal(tg_proxy_header_read(bytes, 24, &h), TG_E_PROTOCOL);
}

static void what_is_written_is_read(void **state)
{
    char room[TG_PROXY_HEADER_MAX];
    struct tg_addr client;
    struct tg_addr local;
    struct tg_addr none = {.len = 0};
    (void)state;
    assert_int_equal(tg_addr_parse(TG_STR("192.0.2.7:80"), &client), TG_OK);
    assert_int_equal(tg_addr_parse(TG_STR("10.0.0.1:443"), &local), TG_OK);
    for (int version = 1; version <= 2; version++) {
        size_t n = tg_proxy_header_write(room, version, &client, &local);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(tg_proxy_header_read(room, cut, &h), TG_E_AGAIN);
        assert_int_equal(tg_proxy_header_read(room, n, &h), TG_OK);
        assert_true(tg_addr_eq(&h.client, &client) && tg_addr_eq(&h.local, &local));
        n = tg_proxy_header_write(room, version, &client, &none);
        assert_int_equal(tg_proxy_header_read(room, n, &h), TG_OK);
        assert_int_equal(h.client.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_read),
        cmocka_unit_test(version_1_is_read_strictly),
        cmocka_unit_test(version_2_is_bounded),
        cmocka_unit_test(addresses_too_short_are_refused),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
