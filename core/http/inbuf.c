/* inbuf.c: see inbuf.h. */
#include "base/banned.h"
#include "http/inbuf.h"

enum tg_err tg_inbuf_reserve(struct tg_inbuf *in, struct tg_slab *slab, size_t size)
{
    if (in->mem != NULL)
        return in->end < in->cap && !in->borrowed ? TG_OK : TG_E_LIMIT;
    size_t cap = tg_slab_class_size(size);
    in->mem = tg_slab_lease(slab, cap);
    if (in->mem == NULL)
        return TG_E_NOMEM;
    in->cap = (uint32_t)cap;
    in->pos = in->end = 0;
    in->borrowed = false;
    return TG_OK;
}

/* Moves what is not consumed to fresh memory of `cap` bytes. */
static enum tg_err move_to(struct tg_inbuf *in, struct tg_slab *slab, size_t cap)
{
    size_t left = tg_inbuf_left(in);
    char *mem = tg_slab_lease(slab, cap);
    if (mem == NULL)
        return TG_E_NOMEM;
    memcpy(mem, tg_inbuf_at(in), left);
    if (!in->borrowed)
        tg_slab_return(slab, in->mem, in->cap);
    *in = (struct tg_inbuf){.mem = mem, .cap = (uint32_t)cap, .end = (uint32_t)left};
    return TG_OK;
}

enum tg_err tg_inbuf_grow(struct tg_inbuf *in, struct tg_slab *slab)
{
    if ((size_t)in->cap * 2 > TG_SLAB_MAX)
        return TG_E_LIMIT;
    return move_to(in, slab, (size_t)in->cap * 2);
}

void tg_inbuf_consume(struct tg_inbuf *in, struct tg_slab *slab, size_t n)
{
    in->pos += (uint32_t)n;
    if (in->pos == in->end)
        tg_inbuf_release(in, slab);
}

enum tg_err tg_inbuf_lend(struct tg_inbuf *in, struct tg_arena *arena)
{
    if (!tg_arena_adopt(arena, in->mem, in->cap))
        return TG_E_NOMEM;
    in->borrowed = true;
    if (in->pos == in->end)
        *in = (struct tg_inbuf){0};
    return TG_OK;
}

enum tg_err tg_inbuf_reclaim(struct tg_inbuf *in, struct tg_slab *slab)
{
    if (!in->borrowed)
        return TG_OK;
    if (tg_inbuf_left(in) == 0) {
        tg_inbuf_release(in, slab);
        return TG_OK;
    }
    return move_to(in, slab, tg_slab_class_size(tg_inbuf_left(in)));
}

void tg_inbuf_release(struct tg_inbuf *in, struct tg_slab *slab)
{
    if (!in->borrowed && in->mem != NULL)
        tg_slab_return(slab, in->mem, in->cap);
    *in = (struct tg_inbuf){0};
}
