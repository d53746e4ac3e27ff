/* ws.c: see ws.h. A frame's head is put together in reader->head, byte by byte where it comes so;
 * each rule is checked as soon as the bytes that break it are there. */
#include "base/banned.h"
#include "http/ws.h"

#include "base/assert.h"
#include "base/rand.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#define CHECK_PIECE 1024 /* bytes that are unmasked at a time, to be looked at */

/* ---- Masks -------------------------------------------------------------------------------------
 */

void tg_ws_mask(char *out, const char *in, size_t n, struct tg_ws_key key, uint64_t at)
{
    unsigned char wide[8];
    uint64_t mask;
    size_t i = 0;
    for (size_t k = 0; k < sizeof(wide); k++)
        wide[k] = key.v[(at + k) % 4];
    memcpy(&mask, wide, sizeof(mask));
    for (uint64_t eight; n - i >= sizeof(eight); i += sizeof(eight)) {
        memcpy(&eight, in + i, sizeof(eight));
        eight ^= mask;
        memcpy(out + i, &eight, sizeof(eight));
    }
    for (; i < n; i++)
        out[i] = (char)((unsigned char)in[i] ^ key.v[(at + i) % 4]);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

void tg_ws_reader_init(struct tg_ws_reader *reader, struct tg_slab *slab, bool masked, uint64_t max)
{
    *reader = (struct tg_ws_reader){.max = max, .masked = masked};
    tg_buf_init(&reader->body, slab);
}

void tg_ws_reader_release(struct tg_ws_reader *reader)
{
    tg_buf_release(&reader->body);
}

bool tg_ws_reader_is_amid(const struct tg_ws_reader *reader)
{
    return reader->message != 0 || reader->in_frame || reader->head_n > 0;
}

static enum tg_ws_step fail(struct tg_ws_reader *reader, uint16_t code, const char *reason)
{
    reader->code = code;
    reader->reason = reason;
    return TG_WS_FAILED;
}

static enum tg_ws_step fail_protocol(struct tg_ws_reader *reader, const char *reason)
{
    return fail(reader, TG_WS_CODE_PROTOCOL, reason);
}

static bool is_control(uint8_t opcode)
{
    return opcode >= TG_WS_CLOSE;
}

/* Bytes of the head, as its first two say. */
static uint8_t head_size(const unsigned char *head)
{
    unsigned length = head[1] & 0x7f;
    unsigned more = length == 126 ? 2 : length == 127 ? 8 : 0;
    return (uint8_t)(2 + more + ((head[1] & 0x80) != 0 ? 4 : 0));
}

/* What the first two bytes say. */
static enum tg_ws_step check_start(struct tg_ws_reader *reader)
{
    const unsigned char *head = reader->head;
    uint8_t opcode = head[0] & 0x0f;
    bool final = (head[0] & 0x80) != 0;
    if ((head[0] & 0x70) != 0)
        return fail_protocol(reader, "reserved bits are set, and no extension was agreed on");
    if ((opcode > TG_WS_BINARY && opcode < TG_WS_CLOSE) || opcode > TG_WS_PONG)
        return fail_protocol(reader, "a reserved opcode");
    if (((head[1] & 0x80) != 0) != reader->masked)
        return fail_protocol(reader, reader->masked ? "a frame of a client is not masked"
                                                    : "a frame of a server is masked");
    if (is_control(opcode) && (!final || (head[1] & 0x7f) > TG_WS_CONTROL_MAX))
        return fail_protocol(reader, "a control frame is fragmented or too long");
    if (opcode == TG_WS_CONTINUATION && reader->message == 0)
        return fail_protocol(reader, "a continuation of nothing");
    if (!is_control(opcode) && opcode != TG_WS_CONTINUATION && reader->message != 0)
        return fail_protocol(reader, "a message begins within another");
    return TG_WS_MORE;
}

static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

/* The head is complete: what its length says. */
static enum tg_ws_step open_frame(struct tg_ws_reader *reader)
{
    const unsigned char *head = reader->head;
    uint64_t length = head[1] & 0x7f;
    size_t at = 2;
    if (length >= 126) {
        size_t n = length == 126 ? 2 : 8;
        uint64_t least = length == 126 ? 126 : 65536;
        length = big_endian(head + 2, n);
        at += n;
        if (length < least || length > INT64_MAX)
            return fail_protocol(reader, "a length that is not written in the fewest bytes");
    }
    if (reader->masked)
        memcpy(reader->key.v, head + at, sizeof(reader->key.v));
    reader->opcode = head[0] & 0x0f;
    reader->final = (head[0] & 0x80) != 0;
    if (!is_control(reader->opcode)) {
        uint64_t room = reader->max - TG_MIN(reader->max, reader->body.size);
        if (length > room)
            return fail(reader, TG_WS_CODE_TOO_LARGE, "a message is larger than allowed");
        if (reader->opcode != TG_WS_CONTINUATION) {
            reader->message = reader->opcode;
            reader->text = (struct tg_utf8){0};
        }
    }
    reader->left = length;
    reader->at = 0;
    reader->head_n = 0;
    reader->control_n = 0;
    reader->in_frame = true;
    return TG_WS_MESSAGE;
}

/* Takes bytes of a head: MORE: it is not complete; MESSAGE: the frame is open. */
static enum tg_ws_step take_head(struct tg_ws_reader *reader, struct tg_str *bytes)
{
    while (bytes->n > 0) {
        reader->head[reader->head_n++] = (unsigned char)bytes->p[0];
        *bytes = tg_str_sub(*bytes, 1, bytes->n);
        if (reader->head_n == 2 && check_start(reader) == TG_WS_FAILED)
            return TG_WS_FAILED;
        if (reader->head_n >= 2 && reader->head_n == head_size(reader->head))
            return open_frame(reader);
    }
    return TG_WS_MORE;
}

/* Whether `data` of the frame's payload goes on being text. */
static bool goes_on(struct tg_ws_reader *reader, struct tg_str data)
{
    char plain[CHECK_PIECE];
    if (!reader->masked)
        return tg_utf8_take(&reader->text, data.p, data.n);
    for (size_t at = 0; at < data.n;) {
        size_t n = TG_MIN(data.n - at, sizeof(plain));
        tg_ws_mask(plain, data.p + at, n, reader->key, reader->at + at);
        if (!tg_utf8_take(&reader->text, plain, n))
            return false;
        at += n;
    }
    return true;
}

static bool append(struct tg_buf *buf, struct tg_str data, const struct tg_ws_key *key, uint64_t at)
{
    char plain[CHECK_PIECE];
    if (key == NULL)
        return tg_buf_append(buf, data.p, data.n) == TG_OK;
    for (size_t done = 0; done < data.n;) {
        size_t n = TG_MIN(data.n - done, sizeof(plain));
        tg_ws_mask(plain, data.p + done, n, *key, at + done);
        if (tg_buf_append(buf, plain, n) != TG_OK)
            return false;
        done += n;
    }
    return true;
}

static enum tg_ws_step not_text(struct tg_ws_reader *reader)
{
    return fail(reader, TG_WS_CODE_NOT_TEXT, "text that is not UTF-8");
}

/* Takes `data` of the payload; `keep`: it is collected. */
static enum tg_ws_step take_payload(struct tg_ws_reader *reader, struct tg_str data, bool keep)
{
    if (is_control(reader->opcode)) {
        tg_ws_mask(reader->control + reader->control_n, data.p, data.n, reader->key, reader->at);
        reader->control_n = (uint8_t)(reader->control_n + data.n);
    } else {
        if (reader->message == TG_WS_TEXT && !goes_on(reader, data))
            return not_text(reader);
        if (keep && !append(&reader->body, data, reader->masked ? &reader->key : NULL, reader->at))
            return fail(reader, TG_WS_CODE_INTERNAL, "no memory for a message");
    }
    reader->left -= data.n;
    reader->at += data.n;
    return TG_WS_MORE;
}

bool tg_ws_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

uint16_t tg_ws_close_code(const struct tg_ws_message *message)
{
    return message->size < 2 ? TG_WS_CODE_NONE
                             : (uint16_t)big_endian((const unsigned char *)message->payload.p, 2);
}

struct tg_str tg_ws_close_reason(const struct tg_ws_message *message)
{
    return tg_str_sub(message->payload, 2, message->size);
}

static enum tg_ws_step end_control(struct tg_ws_reader *reader, struct tg_ws_message *message)
{
    struct tg_utf8 text = {0};
    message->payload = tg_str(reader->control, reader->control_n);
    message->size = reader->control_n;
    if (message->opcode != TG_WS_CLOSE || message->size == 0)
        return TG_WS_MESSAGE;
    if (message->size == 1 || !tg_ws_code_is_valid(tg_ws_close_code(message)))
        return fail_protocol(reader, "a close frame with a code that must not be sent");
    struct tg_str reason = tg_ws_close_reason(message);
    if (!tg_utf8_take(&text, reason.p, reason.n) || text.need > 0)
        return not_text(reader);
    return TG_WS_MESSAGE;
}

/* The frame is whole; MORE: its message is not. `raw` is the frame where it lies in one piece. */
static enum tg_ws_step end_frame(struct tg_ws_reader *reader, struct tg_str raw, struct tg_str data,
                                 struct tg_ws_message *message)
{
    reader->in_frame = false;
    *message = (struct tg_ws_message){.opcode = reader->opcode, .raw = raw, .key = reader->key};
    if (is_control(reader->opcode))
        return end_control(reader, message);
    if (!reader->final)
        return TG_WS_MORE;
    if (reader->message == TG_WS_TEXT && reader->text.need > 0)
        return not_text(reader);
    message->opcode = reader->message;
    message->payload = raw.p != NULL ? data : tg_str(NULL, 0);
    message->size = raw.p != NULL ? data.n : reader->body.size;
    reader->message = 0;
    reader->delivered = true;
    return TG_WS_MESSAGE;
}

/* One frame, or what there is of it. */
static enum tg_ws_step read_frame(struct tg_ws_reader *reader, struct tg_str *bytes,
                                  struct tg_ws_message *message)
{
    const char *start = reader->in_frame || reader->head_n > 0 ? NULL : bytes->p;
    if (!reader->in_frame) {
        enum tg_ws_step step = take_head(reader, bytes);
        if (step != TG_WS_MESSAGE)
            return step;
    }
    struct tg_str data = tg_str_sub(*bytes, 0, reader->left);
    bool whole = start != NULL && data.n == reader->left && reader->final &&
                 reader->opcode != TG_WS_CONTINUATION;
    if (take_payload(reader, data, !whole) == TG_WS_FAILED)
        return TG_WS_FAILED;
    *bytes = tg_str_sub(*bytes, data.n, bytes->n);
    if (reader->left > 0)
        return TG_WS_MORE;
    struct tg_str raw = {whole ? start : NULL, whole ? (size_t)(bytes->p - start) : 0};
    return end_frame(reader, raw, data, message);
}

enum tg_ws_step tg_ws_read(struct tg_ws_reader *reader, struct tg_str *bytes,
                           struct tg_ws_message *message)
{
    tg_assert(reader->code == 0);
    if (reader->delivered) {
        tg_buf_release(&reader->body);
        reader->delivered = false;
    }
    while (bytes->n > 0) {
        enum tg_ws_step step = read_frame(reader, bytes, message);
        if (step != TG_WS_MORE)
            return step;
    }
    return TG_WS_MORE;
}

const struct tg_buf *tg_ws_collect(struct tg_ws_reader *reader, struct tg_ws_message *message)
{
    const struct tg_ws_key *key = reader->masked ? &message->key : NULL;
    if (message->payload.p == NULL)
        return &reader->body;
    if (!append(&reader->body, message->payload, key, 0)) {
        tg_buf_release(&reader->body);
        return NULL;
    }
    message->raw = message->payload = tg_str(NULL, 0);
    return &reader->body;
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

size_t tg_ws_write_head(char out[TG_WS_HEAD_MAX], enum tg_ws_opcode opcode, bool final, uint64_t n,
                        const struct tg_ws_key *key)
{
    size_t more = n < 126 ? 0 : n < 65536 ? 2 : 8;
    unsigned length = more == 0 ? (unsigned)n : more == 2 ? 126 : 127;
    out[0] = (char)((unsigned)opcode | (final ? 0x80u : 0));
    out[1] = (char)(length | (key != NULL ? 0x80u : 0));
    for (size_t i = 0; i < more; i++)
        out[2 + i] = (char)(n >> (8 * (more - 1 - i)) & 0xff);
    if (key != NULL)
        memcpy(out + 2 + more, key->v, sizeof(key->v));
    return 2 + more + (key != NULL ? sizeof(key->v) : 0);
}

/* As much of the text as fits into `room` bytes without a broken character at its end. */
static size_t cut_text(struct tg_str text, size_t room)
{
    size_t n = TG_MIN(text.n, room);
    while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

size_t tg_ws_write_close(char out[TG_WS_CONTROL_MAX], uint16_t code, struct tg_str reason)
{
    if (code == TG_WS_CODE_NONE)
        return 0;
    size_t n = cut_text(reason, TG_WS_REASON_MAX);
    out[0] = (char)(code >> 8);
    out[1] = (char)(code & 0xff);
    if (n > 0)
        memcpy(out + 2, reason.p, n);
    return 2 + n;
}

/* ---- The handshake -----------------------------------------------------------------------------
 */

#define KEY_SIZE 16

bool tg_ws_key_is_valid(struct tg_str key)
{
    unsigned char bytes[KEY_SIZE + 2];
    if (key.n != TG_WS_KEY_TEXT || tg_str_find(key, '=', 0) != TG_WS_KEY_TEXT - 2)
        return false;
    return EVP_DecodeBlock(bytes, (const unsigned char *)key.p, TG_WS_KEY_TEXT) == KEY_SIZE + 2;
}

static void encode(const unsigned char *bytes, size_t n, char *out, size_t size)
{
    unsigned char text[TG_WS_ACCEPT_TEXT + 1];
    tg_assert(size < sizeof(text));
    EVP_EncodeBlock(text, bytes, (int)n);
    memcpy(out, text, size);
}

void tg_ws_make_key(char out[TG_WS_KEY_TEXT])
{
    unsigned char bytes[KEY_SIZE];
    tg_rand_secret(bytes, sizeof(bytes));
    encode(bytes, sizeof(bytes), out, TG_WS_KEY_TEXT);
}

void tg_ws_make_accept(struct tg_str key, char out[TG_WS_ACCEPT_TEXT])
{
    static const char uuid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    unsigned char text[TG_WS_KEY_TEXT + sizeof(uuid) - 1], digest[SHA_DIGEST_LENGTH];
    size_t n = TG_MIN(key.n, (size_t)TG_WS_KEY_TEXT);
    memcpy(text, key.p, n);
    memcpy(text + n, uuid, sizeof(uuid) - 1);
    SHA1(text, n + sizeof(uuid) - 1, digest);
    encode(digest, sizeof(digest), out, TG_WS_ACCEPT_TEXT);
}
