/* buf.c: the chain. Blocks are 512 B to 16 KiB, sized by what is appended first. */
#include "base/banned.h"
#include "base/buf.h"

#include "base/assert.h"

#define BLOCK_MIN ((size_t)512)
#define BLOCK_MAX ((size_t)16384)

struct tg_buf_block {
    struct tg_buf_block *next;
    uint32_t size;  /* of the whole block, this header included */
    uint32_t start; /* offsets into data */
    uint32_t end;
    char data[];
};

static size_t capacity(const struct tg_buf_block *b)
{
    return b->size - sizeof(*b);
}

void tg_buf_init(struct tg_buf *buf, struct tg_slab *slab)
{
    *buf = (struct tg_buf){.slab = slab};
}

static void drop_chain(struct tg_slab *slab, struct tg_buf_block *block)
{
    while (block != NULL) {
        struct tg_buf_block *next = block->next;
        tg_slab_return(slab, block, block->size);
        block = next;
    }
}

void tg_buf_release(struct tg_buf *buf)
{
    drop_chain(buf->slab, buf->head);
    buf->head = buf->tail = NULL;
    buf->size = 0;
}

/* A chain of empty blocks that holds `n` bytes; NULL when memory is out. */
static struct tg_buf_block *lease_chain(struct tg_slab *slab, size_t n)
{
    struct tg_buf_block *first = NULL;
    struct tg_buf_block **link = &first;
    while (n > 0) {
        size_t want = TG_MIN(TG_MAX(n + sizeof(struct tg_buf_block), BLOCK_MIN), BLOCK_MAX);
        want = tg_slab_class_size(want);
        struct tg_buf_block *b = tg_slab_lease(slab, want);
        if (b == NULL) {
            drop_chain(slab, first);
            return NULL;
        }
        *b = (struct tg_buf_block){.size = (uint32_t)want};
        *link = b;
        link = &b->next;
        n -= TG_MIN(n, capacity(b));
    }
    return first;
}

static size_t fill(struct tg_buf_block *b, const char *p, size_t n)
{
    size_t room = TG_MIN(n, capacity(b) - b->end);
    memcpy(b->data + b->end, p, room);
    b->end += (uint32_t)room;
    return room;
}

enum tg_err tg_buf_append(struct tg_buf *buf, const char *p, size_t n)
{
    size_t room = buf->tail != NULL ? capacity(buf->tail) - buf->tail->end : 0;
    struct tg_buf_block *more = NULL;
    if (n > room) {
        more = lease_chain(buf->slab, n - room);
        if (more == NULL)
            return TG_E_NOMEM;
    }
    buf->size += n;
    if (room > 0 && n > 0) {
        size_t done = fill(buf->tail, p, n);
        p += done;
        n -= done;
    }
    if (more == NULL)
        return TG_OK;
    if (buf->tail != NULL)
        buf->tail->next = more;
    else
        buf->head = more;
    for (; more != NULL; more = more->next) {
        size_t done = fill(more, p, n);
        p += done;
        n -= done;
        buf->tail = more;
    }
    return TG_OK;
}

void tg_buf_consume(struct tg_buf *buf, size_t n)
{
    tg_assert(n <= buf->size);
    buf->size -= n;
    while (n > 0) {
        struct tg_buf_block *b = buf->head;
        tg_assert(b != NULL); /* size counts the bytes of all blocks */
        size_t here = TG_MIN(n, (size_t)(b->end - b->start));
        b->start += (uint32_t)here;
        n -= here;
        if (b->start < b->end)
            return;
        buf->head = b->next;
        if (buf->head == NULL)
            buf->tail = NULL;
        tg_slab_return(buf->slab, b, b->size);
    }
}

int tg_buf_iov(const struct tg_buf *buf, struct iovec *iov, int max)
{
    int n = 0;
    for (struct tg_buf_block *b = buf->head; b != NULL && n < max; b = b->next) {
        iov[n].iov_base = b->data + b->start;
        iov[n].iov_len = b->end - b->start;
        n++;
    }
    return n;
}

struct tg_str tg_buf_piece(const struct tg_buf *buf, size_t offset)
{
    const struct tg_buf_block *b = buf->head;
    if (offset >= buf->size)
        return TG_STR("");
    size_t last = buf->tail->end - buf->tail->start;
    if (offset >= buf->size - last) {
        offset -= buf->size - last;
        b = buf->tail;
    }
    for (; offset >= b->end - b->start; b = b->next)
        offset -= b->end - b->start;
    return tg_str(b->data + b->start + offset, b->end - b->start - offset);
}

void tg_buf_copy_out(const struct tg_buf *buf, char *out)
{
    for (struct tg_buf_block *b = buf->head; b != NULL; b = b->next) {
        memcpy(out, b->data + b->start, b->end - b->start);
        out += b->end - b->start;
    }
}
