/* ws.h: WebSocket (RFC 6455): messages out of bytes, and bytes out of messages. Knows no sockets.
 *
 *     0               1               2..                     then
 *     F R R R opcode  M length (7)    length: 0, 2 or 8 bytes  key: 4 bytes where M   payload
 *
 * A reader takes what one side sends, in pieces as they come, and says when a message or a control
 * frame is whole:
 *
 *     while ((step = tg_ws_read(&reader, &bytes, &message)) == TG_WS_MESSAGE)
 *         ...
 *
 * A message that is one frame and lies whole in the bytes at hand is not copied: `raw` is that
 * frame, which may be sent on as it is. Anything else (several frames, or one that comes in
 * pieces) is collected, unmasked, in the reader; it is bounded by `max`, known to be too large as
 * soon as a frame says so, and memory is taken for what has come, not for what was announced.
 *
 * Refused (TG_WS_FAILED, with the status code that the sender is to be told): frames that the other
 * side's role must not send masked or unmasked, reserved bits and opcodes, lengths that are not
 * written in the fewest bytes, control frames that are fragmented or have more than 125 bytes,
 * fragments out of order, close frames with half a code or one that must not be sent (1002); text
 * that is not UTF-8, as soon as that is certain (1007); messages above `max` (1009). Extensions are
 * not spoken: whoever uses this takes them out of the handshake.
 *
 * Threads: the owner's. Cost: a look at each byte of text, for UTF-8; none at those of binary
 * messages that stay as they are.
 */
#ifndef TG_HTTP_WS_H
#define TG_HTTP_WS_H

#include "base/buf.h"
#include "base/utf8.h"

enum tg_ws_opcode {
    TG_WS_CONTINUATION = 0,
    TG_WS_TEXT = 1,
    TG_WS_BINARY = 2,
    TG_WS_CLOSE = 8,
    TG_WS_PING = 9,
    TG_WS_PONG = 10,
};

/* Status codes (RFC 6455, 7.4). NONE and LOST are never sent: no code, and no close frame. */
enum tg_ws_code {
    TG_WS_CODE_NORMAL = 1000,
    TG_WS_CODE_GOING_AWAY = 1001,
    TG_WS_CODE_PROTOCOL = 1002,
    TG_WS_CODE_NONE = 1005,
    TG_WS_CODE_LOST = 1006,
    TG_WS_CODE_NOT_TEXT = 1007,
    TG_WS_CODE_POLICY = 1008,
    TG_WS_CODE_TOO_LARGE = 1009,
    TG_WS_CODE_INTERNAL = 1011,
    TG_WS_CODE_TRY_LATER = 1013,
};

#define TG_WS_CONTROL_MAX 125 /* bytes of a control frame's payload */
#define TG_WS_REASON_MAX  123 /* bytes of a close frame's reason */
#define TG_WS_HEAD_MAX    14  /* bytes in front of a payload */
#define TG_WS_KEY_TEXT    24  /* bytes of Sec-WebSocket-Key */
#define TG_WS_ACCEPT_TEXT 28  /* bytes of Sec-WebSocket-Accept */

struct tg_ws_key {
    unsigned char v[4];
};

struct tg_ws_reader {
    uint64_t max;       /* bytes of a message; may be changed between two messages */
    bool masked;        /* what is read comes from a client */
    const char *reason; /* after FAILED: what was wrong, static */
    uint16_t code;      /* and what the sender is told */

    /* private */
    struct tg_buf body; /* of the message, unmasked */
    struct tg_utf8 text;
    uint8_t message; /* opcode of the message that has begun; 0: none */
    bool delivered;  /* body is what the last step told */
    bool in_frame;
    bool final;
    uint8_t opcode; /* of the frame */
    uint8_t head_n, control_n;
    unsigned char head[TG_WS_HEAD_MAX];
    char control[TG_WS_CONTROL_MAX];
    struct tg_ws_key key;
    uint64_t left, at; /* bytes of the frame's payload: to come, and seen */
};

/* A message, or a control frame; valid until the reader's next step. */
struct tg_ws_message {
    enum tg_ws_opcode opcode;
    struct tg_str raw;     /* the one frame that it is, as it came; p == NULL: not in one piece */
    struct tg_str payload; /* of `raw`, masked with `key`; of a control frame: unmasked. Else p ==
                              NULL: it was collected */
    struct tg_ws_key key;
    size_t size; /* bytes of the payload */
};

enum tg_ws_step {
    TG_WS_MORE,    /* all bytes were taken */
    TG_WS_MESSAGE, /* *message is there; there may be more bytes */
    TG_WS_FAILED,  /* code and reason say why; no further step is allowed */
};

/* A reader with buffers of `slab` (borrowed). */
void tg_ws_reader_init(struct tg_ws_reader *reader, struct tg_slab *slab, bool masked,
                       uint64_t max);

/* Drops what was collected; twice is fine. */
void tg_ws_reader_release(struct tg_ws_reader *reader);

/* Takes bytes off the front of `*bytes`. */
enum tg_ws_step tg_ws_read(struct tg_ws_reader *reader, struct tg_str *bytes,
                           struct tg_ws_message *message) TG_MUST_USE;

/* Whether a message has begun that is not whole. */
bool tg_ws_reader_is_amid(const struct tg_ws_reader *reader);

/* The payload of a data message that the last step told, unmasked, in a buffer of the reader's
 * (borrowed until the next step); copied there where it was not collected. NULL: no memory. */
const struct tg_buf *tg_ws_collect(struct tg_ws_reader *reader, struct tg_ws_message *message);

/* Code and reason of a CLOSE that was read; TG_WS_CODE_NONE where it has none. */
uint16_t tg_ws_close_code(const struct tg_ws_message *message);
struct tg_str tg_ws_close_reason(const struct tg_ws_message *message);

/* Writes what stands in front of a payload of `n` bytes; returns how many bytes that are. `key`
 * NULL: a server's, not masked. */
size_t tg_ws_write_head(char out[TG_WS_HEAD_MAX], enum tg_ws_opcode opcode, bool final, uint64_t n,
                        const struct tg_ws_key *key);

/* Masks, or unmasks, `n` bytes from `in` to `out` (which may be the same), the first of which is
 * number `at` of its payload. */
void tg_ws_mask(char *out, const char *in, size_t n, struct tg_ws_key key, uint64_t at);

/* Writes the payload of a CLOSE and returns its size; a reason that is too long is cut between two
 * characters. TG_WS_CODE_NONE: an empty one. */
size_t tg_ws_write_close(char out[TG_WS_CONTROL_MAX], uint16_t code, struct tg_str reason);

/* Whether a peer may send the code: assigned to be sent, or an application's (3000..4999). */
bool tg_ws_code_is_valid(uint16_t code);

/* ---- The handshake ---- */

/* Whether this is a Sec-WebSocket-Key: 16 bytes in base 64. */
bool tg_ws_key_is_valid(struct tg_str key);

/* A fresh Sec-WebSocket-Key, and the Sec-WebSocket-Accept that belongs to a key. No NUL. */
void tg_ws_make_key(char out[TG_WS_KEY_TEXT]);
void tg_ws_make_accept(struct tg_str key, char out[TG_WS_ACCEPT_TEXT]);

#endif
