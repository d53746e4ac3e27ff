/*
 * Any bytes as Accept-Encoding and as Content-Encoding: read without harm, and what is chosen is on
 * offer, not refused, and the same however the lines are cut.
 */
#include "base/banned.h"
#include "http/coding.h"

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tg_slab *slab;

static struct tg_coding_wish choose(struct tg_str value, enum tg_coding *only, bool *one)
{
    static const enum tg_coding offered[] = {TG_CODING_BR, TG_CODING_ZSTD, TG_CODING_GZIP};
    struct tg_arena arena;
    struct tg_fields fields;
    tg_arena_init(&arena, slab, 65536);
    tg_fields_init(&fields, &arena);
    enum tg_err err = tg_fields_add(&fields, TG_STR("Accept-Encoding"), value);
    if (err == TG_OK)
        err = tg_fields_add(&fields, TG_STR("Content-Encoding"), value);
    tg_assert(err == TG_OK);
    struct tg_coding_wish wish = tg_coding_choose(&fields, offered, 3);
    *one = tg_coding_only(&fields, only);
    tg_arena_release(&arena);
    return wish;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum tg_coding only, again;
    bool one, same;
    if (slab == NULL)
        slab = tg_slab_new(TG_MEM_OTHER, 0);
    struct tg_str value = tg_str((const char *)data, size);
    struct tg_coding_wish wish = choose(value, &only, &one);
    tg_assert(wish.coding != TG_CODING_DEFLATE && wish.coding < TG_CODINGS);
    tg_assert(!one || only < TG_CODINGS);
    /* Blanks around the whole, and an empty element behind it, change nothing. */
    static char room[70000];
    if (size + 8 < sizeof(room)) {
        room[0] = ' ';
        memcpy(room + 1, data, size);
        memcpy(room + 1 + size, " ,", 2);
        struct tg_coding_wish other = choose(tg_str(room, size + 3), &again, &same);
        tg_assert(other.coding == wish.coding && other.not_identity == wish.not_identity);
        tg_assert(same == one && (!one || again == only));
    }
    return 0;
}
