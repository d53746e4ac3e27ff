/*
 * Any bytes as what one side of a WebSocket sends: the same messages and the same verdict however
 * they are cut, never more than the bound, and what is written again is read again. The first byte
 * chooses the side, the second the cut, the third the bound.
 */
#include "base/banned.h"
#include "http/ws.h"

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint16_t code; /* 0: all was read */
    uint64_t messages;
    uint64_t sum; /* of the payloads, by their places */
};

static void add(struct outcome *outcome, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        outcome->sum = outcome->sum * 31 + (uint8_t)p[i];
}

/* Writes the payload as a frame and reads that. */
static void check_again(struct tg_slab *slab, const struct tg_ws_message *message,
                        const struct tg_buf *body)
{
    static char frame[TG_WS_HEAD_MAX + 1024];
    struct tg_ws_reader reader;
    struct tg_ws_message again;
    struct tg_ws_key key = {{0x12, 0x34, 0x56, 0x78}};
    if (body->size > 1024)
        return;
    size_t head = tg_ws_write_head(frame, message->opcode, true, body->size, &key);
    tg_buf_copy_out(body, frame + head);
    tg_ws_mask(frame + head, frame + head, body->size, key, 0);
    struct tg_str bytes = tg_str(frame, head + body->size);
    tg_ws_reader_init(&reader, slab, true, body->size);
    tg_assert(tg_ws_read(&reader, &bytes, &again) == TG_WS_MESSAGE);
    tg_assert(again.opcode == message->opcode && again.size == body->size && bytes.n == 0);
    tg_ws_reader_release(&reader);
}

static void take(struct outcome *outcome, struct tg_slab *slab, struct tg_ws_reader *reader,
                 struct tg_ws_message *message)
{
    outcome->messages++;
    add(outcome, (const char *)&message->opcode, 1);
    if (message->opcode >= TG_WS_CLOSE) {
        tg_assert(message->size <= TG_WS_CONTROL_MAX);
        add(outcome, message->payload.p, message->size);
        return;
    }
    tg_assert(message->size <= reader->max);
    const struct tg_buf *body = tg_ws_collect(reader, message);
    tg_assert(body != NULL && body->size == message->size);
    for (size_t at = 0; at < body->size;) {
        struct tg_str piece = tg_buf_piece(body, at);
        add(outcome, piece.p, piece.n);
        at += piece.n;
    }
    check_again(slab, message, body);
}

static struct outcome read_all(struct tg_slab *slab, struct tg_str in, bool masked, uint64_t max,
                               size_t piece)
{
    struct tg_ws_reader reader;
    struct tg_ws_message message;
    struct outcome outcome = {.code = 0};
    tg_ws_reader_init(&reader, slab, masked, max);
    for (size_t at = 0; at < in.n && outcome.code == 0; at += piece) {
        struct tg_str bytes = tg_str_sub(in, at, at + piece);
        enum tg_ws_step step;
        while ((step = tg_ws_read(&reader, &bytes, &message)) == TG_WS_MESSAGE)
            take(&outcome, slab, &reader, &message);
        outcome.code = step == TG_WS_FAILED ? reader.code : 0;
    }
    tg_ws_reader_release(&reader);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct tg_slab *slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    tg_assert(slab != NULL);
    struct tg_str in = tg_str((const char *)data + 3, size - 3);
    bool masked = data[0] % 2 == 1;
    uint64_t max = (uint64_t)data[2] * data[2];
    struct outcome whole = read_all(slab, in, masked, max, in.n);
    struct outcome pieces = read_all(slab, in, masked, max, (size_t)data[1] % 64 + 1);
    tg_assert(whole.code == pieces.code && whole.messages == pieces.messages &&
              whole.sum == pieces.sum);
    tg_slab_free(&slab);
    return 0;
}
