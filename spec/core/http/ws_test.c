/*
 * WebSocket frames: what is read of bytes cut anywhere, what is refused and with which code, and
 * that what is written is read again.
 */
#include "http/ws.h"

#include "support.h"

#include "base/mem.h"

#define MAX 100000

/* What was read: a line for each step, "text:hello", "close:1000:bye", "failed:1002". */
struct seen {
    char text[1024];
    size_t n;
};

static struct tg_slab *slab;

static void note(struct seen *seen, const char *kind, const char *p, size_t n)
{
    int wrote = snprintf(seen->text + seen->n, sizeof(seen->text) - seen->n, "%s%s:%.*s",
                         seen->n > 0 ? " " : "", kind, (int)TG_MIN(n, (size_t)40), p);
    assert_true(wrote > 0);
    seen->n += (size_t)wrote;
}

static void note_message(struct seen *seen, struct tg_ws_reader *reader, struct tg_ws_message *m)
{
    static const char *const kinds[] = {"?", "text", "binary", "?",    "?",   "?",
                                        "?", "?",    "close",  "ping", "pong"};
    char plain[MAX];
    if (m->opcode == TG_WS_CLOSE) {
        int n = snprintf(plain, sizeof(plain), "%u%s%.*s", tg_ws_close_code(m),
                         m->size > 2 ? "," : "", TG_STR_ARG(tg_ws_close_reason(m)));
        note(seen, "close", plain, (size_t)n);
        return;
    }
    if (m->opcode >= TG_WS_CLOSE) {
        note(seen, kinds[m->opcode], m->payload.p, m->size);
        return;
    }
    const struct tg_buf *body = tg_ws_collect(reader, m);
    if (body == NULL) {
        note(seen, "failed", "memory", 6);
        return;
    }
    assert_int_equal(body->size, m->size);
    tg_buf_copy_out(body, plain);
    note(seen, kinds[m->opcode], plain, m->size);
}

/* Reads `in` in pieces of `piece` bytes. */
static void read_all(struct tg_str in, bool masked, uint64_t max, size_t piece, struct seen *seen)
{
    struct tg_ws_reader reader;
    struct tg_ws_message message;
    enum tg_ws_step step = TG_WS_MORE;
    *seen = (struct seen){.n = 0};
    tg_ws_reader_init(&reader, slab, masked, max);
    for (size_t at = 0; at < in.n && step != TG_WS_FAILED; at += piece) {
        struct tg_str bytes = tg_str_sub(in, at, at + piece);
        while ((step = tg_ws_read(&reader, &bytes, &message)) == TG_WS_MESSAGE)
            note_message(seen, &reader, &message);
        assert_true(step == TG_WS_FAILED || bytes.n == 0);
    }
    if (step == TG_WS_FAILED) {
        char code[8];
        assert_non_null(reader.reason);
        note(seen, "failed", code, (size_t)snprintf(code, sizeof(code), "%u", reader.code));
    }
    tg_ws_reader_release(&reader);
}

static void check_limited(struct tg_str in, bool masked, uint64_t max, const char *want)
{
    struct seen seen;
    for (size_t piece = in.n; piece > 0; piece = piece > 7 ? piece / 2 : piece - 1) {
        read_all(in, masked, max, piece, &seen);
        assert_string_equal(seen.text, want);
    }
}

static void check(struct tg_str in, const char *want)
{
    check_limited(in, false, MAX, want);
}

/* ---- What is read -----------------------------------------------------------------------------
 */

/* RFC 6455, 5.7. */
static void test_examples_of_the_rfc(void **state)
{
    (void)state;
    check(TG_STR("\x81\x05Hello"), "text:Hello");
    check_limited(TG_STR("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), true, MAX, "text:Hello");
    check(TG_STR("\x01\x03Hel\x80\x02lo"), "text:Hello");
    check(TG_STR("\x89\x05Hello"), "ping:Hello");
    check_limited(TG_STR("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), true, MAX, "pong:Hello");
}

static void test_many_in_a_row(void **state)
{
    (void)state;
    check(TG_STR("\x81\x01"
                 "a\x82\x00\x8a\x00\x81\x02"
                 "bc"),
          "text:a binary: pong: text:bc");
}

static void test_control_frames_between_fragments(void **state)
{
    (void)state;
    check(TG_STR("\x01\x01"
                 "a\x89\x01p\x00\x00\x80\x01"
                 "b\x88\x00"),
          "ping:p text:ab close:1005");
}

static void test_text_cut_within_a_character(void **state)
{
    (void)state;
    check(TG_STR("\x01\x02"
                 "a\xe2\x00\x01\x82\x80\x01\xac"),
          "text:a\xe2\x82\xac");
}

static void test_a_close_has_code_and_reason(void **state)
{
    (void)state;
    check(TG_STR("\x88\x05\x03\xe8"
                 "bye"),
          "close:1000,bye");
    check(TG_STR("\x88\x02\x0f\xa0"), "close:4000");
}

/* A frame that lies whole in the bytes is told as it came; no byte of it is copied. */
static void test_a_whole_frame_is_not_copied(void **state)
{
    static const char bytes[] = "\x82\x03"
                                "abc\x02\x01x";
    struct tg_ws_reader reader;
    struct tg_ws_message message;
    struct tg_str in = tg_str(bytes, sizeof(bytes) - 1);
    (void)state;
    tg_ws_reader_init(&reader, slab, false, MAX);
    assert_int_equal(tg_ws_read(&reader, &in, &message), TG_WS_MESSAGE);
    assert_ptr_equal(message.raw.p, bytes);
    assert_int_equal(message.raw.n, 5);
    assert_ptr_equal(message.payload.p, bytes + 2);
    assert_int_equal(reader.body.size, 0);
    assert_false(tg_ws_reader_is_amid(&reader));
    assert_int_equal(tg_ws_read(&reader, &in, &message), TG_WS_MORE);
    assert_true(tg_ws_reader_is_amid(&reader));
    tg_ws_reader_release(&reader);
}

/* ---- What is refused --------------------------------------------------------------------------
 */

static void test_broken_framing(void **state)
{
    (void)state;
    check(TG_STR("\xc1\x01x"), "failed:1002");                    /* RSV1 */
    check(TG_STR("\x91\x00"), "failed:1002");                     /* RSV3 */
    check(TG_STR("\x83\x00"), "failed:1002");                     /* opcode */
    check(TG_STR("\x8b\x00"), "failed:1002");                     /* opcode */
    check(TG_STR("\x80\x00"), "failed:1002");                     /* continuation of nothing */
    check(TG_STR("\x01\x00\x81\x00"), "failed:1002");             /* a message in another */
    check(TG_STR("\x09\x00"), "failed:1002");                     /* a fragmented ping */
    check(TG_STR("\x89\x7e\x00\x7e"), "failed:1002");             /* a long ping */
    check(TG_STR("\x82\x7e\x00\x7d"), "failed:1002");             /* 125 in two bytes */
    check(TG_STR("\x82\x7f\0\0\0\0\0\0\xff\xff"), "failed:1002"); /* 65535 in eight */
    check(TG_STR("\x82\x7f\x80\0\0\0\0\1\0\0"), "failed:1002");   /* the highest bit */
    check(TG_STR("\x81\x81\0\0\0\0x"), "failed:1002");            /* a server masks */
    check_limited(TG_STR("\x81\x01x"), true, MAX, "failed:1002"); /* a client does not */
}

static void test_broken_closes(void **state)
{
    static const uint16_t bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535};
    (void)state;
    check(TG_STR("\x88\x01\x03"), "failed:1002");
    check(TG_STR("\x88\x03\x03\xe8\xff"), "failed:1007");
    for (size_t i = 0; i < TG_COUNT_OF(bad); i++) {
        char frame[4] = {'\x88', 2, (char)(bad[i] >> 8), (char)(bad[i] & 0xff)};
        assert_false(tg_ws_code_is_valid(bad[i]));
        check(tg_str(frame, 4), "failed:1002");
    }
}

static void test_text_that_is_none(void **state)
{
    (void)state;
    check(TG_STR("\x81\x02\xc3("), "failed:1007");
    check(TG_STR("\x81\x01\xc3"), "failed:1007");             /* cut at the end */
    check(TG_STR("\x01\x01\xed\x80\x01\xa0"), "failed:1007"); /* a surrogate, in pieces */
    check(TG_STR("\x01\x7e\x01\x00\xff"), "failed:1007");     /* before the rest has come */
    check(TG_STR("\x82\x02\xc3("), "binary:\xc3(");           /* binary is anything */
    check_limited(TG_STR("\x81\x81\x01\x01\x01\x01\xfe"), true, MAX, "failed:1007");
}

static void test_messages_have_a_size(void **state)
{
    (void)state;
    check_limited(TG_STR("\x82\x03"
                         "abc"),
                  false, 3, "binary:abc");
    check_limited(TG_STR("\x82\x04"), false, 3, "failed:1009");
    check_limited(TG_STR("\x02\x02"
                         "ab\x80\x02"),
                  false, 3, "failed:1009");
    check_limited(TG_STR("\x82\x7f\0\0\0\1\0\0\0\0"), false, 3, "failed:1009");
    check_limited(TG_STR("\x89\x04"
                         "long"),
                  false, 3, "ping:long"); /* of control frames the protocol says */
}

/* ---- What is written --------------------------------------------------------------------------
 */

static void test_what_is_written_is_read(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    static char payload[70000], frame[70000 + TG_WS_HEAD_MAX];
    struct tg_ws_key key = {{1, 2, 3, 255}};
    (void)state;
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < 2 * TG_COUNT_OF(sizes); i++) {
        size_t n = sizes[i / 2];
        bool masked = i % 2 == 1;
        struct seen seen, want = {.n = 0};
        size_t head = tg_ws_write_head(frame, TG_WS_BINARY, true, n, masked ? &key : NULL);
        assert_true(head <= TG_WS_HEAD_MAX);
        memcpy(frame + head, payload, n);
        if (masked) { /* in three pieces, as it is sent */
            size_t a = n / 3, b = n / 2;
            tg_ws_mask(frame + head, payload, a, key, 0);
            tg_ws_mask(frame + head + a, payload + a, b - a, key, a);
            tg_ws_mask(frame + head + b, payload + b, n - b, key, b);
        }
        note(&want, "binary", payload, n);
        read_all(tg_str(frame, head + n), masked, MAX, 4096, &seen);
        assert_string_equal(seen.text, want.text);
    }
}

static void test_a_close_is_written(void **state)
{
    char out[TG_WS_CONTROL_MAX], reason[130];
    (void)state;
    assert_int_equal(tg_ws_write_close(out, TG_WS_CODE_NONE, TG_STR("x")), 0);
    assert_int_equal(tg_ws_write_close(out, 1001, TG_STR("")), 2);
    assert_memory_equal(out, "\x03\xe9", 2);
    memset(reason, 'x', sizeof(reason));
    memcpy(reason + 122, "\xe2\x82\xac", 3); /* a character over the edge goes as a whole */
    assert_int_equal(tg_ws_write_close(out, 1000, tg_str(reason, sizeof(reason))), 2 + 122);
    assert_int_equal(tg_ws_write_close(out, 1000, tg_str(reason, 122)), 2 + 122);
}

static void test_the_handshake(void **state)
{
    char key[TG_WS_KEY_TEXT], other[TG_WS_KEY_TEXT], accept[TG_WS_ACCEPT_TEXT];
    (void)state;
    tg_ws_make_accept(TG_STR("dGhlIHNhbXBsZSBub25jZQ=="), accept); /* RFC 6455, 1.3 */
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", TG_WS_ACCEPT_TEXT);
    tg_ws_make_key(key);
    tg_ws_make_key(other);
    assert_true(tg_ws_key_is_valid(tg_str(key, sizeof(key))));
    assert_memory_not_equal(key, other, sizeof(key));
    assert_true(tg_ws_key_is_valid(TG_STR("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_false(tg_ws_key_is_valid(TG_STR("dGhlIHNhbXBsZSBub25jZQ=")));
    assert_false(tg_ws_key_is_valid(TG_STR("dGhlIHNhbXBsZSBub25jZQAA")));
    assert_false(tg_ws_key_is_valid(TG_STR("dGhlIHNhbXBs!SBub25jZQ==")));
    assert_false(tg_ws_key_is_valid(TG_STR("")));
}

static int set_up(void **state)
{
    (void)state;
    slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    return slab != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tg_slab_free(&slab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_rfc),
        cmocka_unit_test(test_many_in_a_row),
        cmocka_unit_test(test_control_frames_between_fragments),
        cmocka_unit_test(test_text_cut_within_a_character),
        cmocka_unit_test(test_a_close_has_code_and_reason),
        cmocka_unit_test(test_a_whole_frame_is_not_copied),
        cmocka_unit_test(test_broken_framing),
        cmocka_unit_test(test_broken_closes),
        cmocka_unit_test(test_text_that_is_none),
        cmocka_unit_test(test_messages_have_a_size),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_a_close_is_written),
        cmocka_unit_test(test_the_handshake),
    };
    return cmocka_run_group_tests_name("ws", tests, set_up, tear_down);
}
