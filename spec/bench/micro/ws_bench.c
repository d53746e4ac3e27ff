/*
 * What looking into WebSocket frames costs: reading what a client sends, where it goes on as it
 * came. `ws.message_ns`: a masked text message of 100 bytes, many in one read; `ws.text_mib_s`:
 * masked ASCII of 64 KiB, each in one read. Prints `bench <name> <value> <unit>` lines: CPU time of
 * this thread, the best of five rounds.
 */
#include "base/banned.h"
#include "http/ws.h"

#include "base/assert.h"
#include "base/clock.h"

#include <stdio.h>

#define ROUNDS 5
#define SMALL  100u
#define LARGE  65536u
#define BYTES  ((uint64_t)64 << 20) /* read in a round */

static char bytes[LARGE + TG_WS_HEAD_MAX];
static const struct tg_ws_key key = {{0x12, 0x34, 0x56, 0x78}};

/* Fills `bytes` with masked frames of `size` bytes each; how many bytes that are. */
static size_t fill(enum tg_ws_opcode opcode, size_t size, size_t frames)
{
    char *p = bytes;
    for (size_t i = 0; i < frames; i++) {
        p += tg_ws_write_head(p, opcode, true, size, &key);
        memset(p, 'x', size);
        tg_ws_mask(p, p, size, key, 0);
        p += size;
    }
    return (size_t)(p - bytes);
}

/* Seconds for reading BYTES, in reads of `n` bytes that hold `frames` messages. */
static double measure(struct tg_slab *slab, size_t n, size_t frames)
{
    struct tg_ws_reader reader;
    double least = 1e9;
    tg_ws_reader_init(&reader, slab, true, LARGE);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tg_clock_thread_cpu();
        for (uint64_t done = 0; done < BYTES; done += n) {
            struct tg_str in = tg_str(bytes, n);
            struct tg_ws_message message;
            size_t seen = 0;
            while (tg_ws_read(&reader, &in, &message) == TG_WS_MESSAGE)
                seen += message.raw.p != NULL;
            tg_assert(seen == frames && in.n == 0);
        }
        least = TG_MIN(least, (double)(tg_clock_thread_cpu() - start) / 1e6);
    }
    tg_ws_reader_release(&reader);
    return least;
}

static double mib_a_second(double seconds)
{
    return (double)(BYTES >> 20) / seconds;
}

int main(void)
{
    struct tg_slab *slab = tg_slab_new(TG_MEM_CONNECTION, 0);
    tg_assert(slab != NULL);
    size_t frames = LARGE / (SMALL + TG_WS_HEAD_MAX);
    size_t n = fill(TG_WS_TEXT, SMALL, frames);
    double messages = (double)BYTES / (double)n * (double)frames;
    printf("bench ws.message_ns %.1f ns\n", measure(slab, n, frames) * 1e9 / messages);
    n = fill(TG_WS_TEXT, LARGE, 1);
    printf("bench ws.text_mib_s %.0f MiB/s\n", mib_a_second(measure(slab, n, 1)));
    tg_slab_free(&slab);
    return 0;
}
