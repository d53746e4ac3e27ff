/* h2_session.c: see h2_session.h. */
#include "base/banned.h"
#include "http/h2_session.h"

#define STAGE_SIZE ((size_t)64 * 1024)
#define FRAME_HEAD 9

/* ---- Memory ------------------------------------------------------------------------------------
 */

/* In front of each block of a region; keeps the alignment of malloc. */
struct block {
    _Alignas(16) struct tg_list link;
};

static void *region_alloc(size_t size, void *arg)
{
    struct tg_h2_region *region = arg;
    struct block *b = tg_mem_alloc(TG_MEM_CONNECTION, sizeof(*b) + size);
    if (b == NULL)
        return NULL;
    tg_list_push_back(&region->blocks, &b->link);
    return b + 1;
}

static void region_free(void *p, void *arg)
{
    (void)arg;
    if (p == NULL)
        return;
    struct block *b = (struct block *)p - 1;
    tg_list_remove(&b->link);
    tg_mem_free(TG_MEM_CONNECTION, b);
}

static void *region_zalloc(size_t count, size_t size, void *arg)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    void *p = region_alloc(n, arg);
    if (p != NULL)
        memset(p, 0, n);
    return p;
}

static void *region_resize(void *p, size_t size, void *arg)
{
    struct tg_h2_region *region = arg;
    if (p == NULL)
        return region_alloc(size, arg);
    struct block *b = (struct block *)p - 1;
    tg_list_remove(&b->link);
    struct block *moved = tg_mem_realloc(TG_MEM_CONNECTION, b, sizeof(*b) + size);
    if (moved != NULL)
        b = moved;
    tg_list_init(&b->link);
    tg_list_push_back(&region->blocks, &b->link);
    return moved != NULL ? moved + 1 : NULL;
}

void tg_h2_region_init(struct tg_h2_region *region)
{
    tg_list_init(&region->blocks);
}

void tg_h2_region_release(struct tg_h2_region *region)
{
    while (!tg_list_is_empty(&region->blocks)) {
        struct block *b = TG_LIST_ENTRY(region->blocks.next, struct block, link);
        tg_list_remove(&b->link);
        tg_mem_free(TG_MEM_CONNECTION, b);
    }
}

nghttp2_mem tg_h2_region_mem(struct tg_h2_region *region)
{
    return (nghttp2_mem){region, region_alloc, region_free, region_zalloc, region_resize};
}

enum tg_err tg_h2_session_err(int code)
{
    switch (code) {
    case NGHTTP2_ERR_NOMEM:
        return TG_E_NOMEM;
    case NGHTTP2_ERR_FLOODED:
        return TG_E_LIMIT;
    default:
        return TG_E_PROTOCOL;
    }
}

/* ---- Output ------------------------------------------------------------------------------------
 */

static enum tg_err leave(struct tg_h2_out *out, struct tg_conn *conn)
{
    struct iovec iov = {out->p, out->n};
    out->n = 0;
    out->full = false;
    return iov.iov_len > 0 ? tg_conn_write(conn, &iov, 1) : TG_OK;
}

/* A frame, or a part of a large one, of nghttp2's own. */
static enum tg_err stage(struct tg_h2_out *out, struct tg_conn *conn, const uint8_t *p, size_t n)
{
    enum tg_err err = TG_OK;
    if (n > STAGE_SIZE - out->n)
        err = leave(out, conn);
    if (err == TG_OK && n > STAGE_SIZE) {
        struct iovec iov = {(void *)(uintptr_t)p, n};
        return tg_conn_write(conn, &iov, 1);
    }
    if (err == TG_OK) {
        memcpy(out->p + out->n, p, n);
        out->n += n;
    }
    return err;
}

/* Fills the block; *more: it is to go before the session can go on. */
static enum tg_err fill(nghttp2_session *session, struct tg_conn *conn, struct tg_h2_out *out,
                        bool *more)
{
    enum tg_err err = TG_OK;
    *more = false;
    while (err == TG_OK && tg_conn_pending(conn) == 0) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(session, &p);
        if (n < 0)
            return tg_h2_session_err((int)n);
        if (n == 0) {
            *more = out->full;
            break;
        }
        err = stage(out, conn, p, (size_t)n);
    }
    return err;
}

enum tg_err tg_h2_session_send(nghttp2_session *session, struct tg_conn *conn,
                               struct tg_h2_out *out)
{
    struct tg_slab *slab = conn->worker->slab;
    enum tg_err err = TG_OK;
    bool more = true;
    if (tg_conn_pending(conn) > 0 || !nghttp2_session_want_write(session))
        return TG_OK;
    *out = (struct tg_h2_out){.p = tg_slab_lease(slab, STAGE_SIZE)};
    if (out->p == NULL)
        return TG_E_NOMEM;
    while (more && err == TG_OK && tg_conn_pending(conn) == 0) {
        err = fill(session, conn, out, &more);
        if (err == TG_OK)
            err = leave(out, conn);
    }
    tg_slab_return(slab, out->p, STAGE_SIZE);
    out->p = NULL;
    return err;
}

int tg_h2_out_data(struct tg_h2_out *out, const uint8_t *head, const nghttp2_data *frame, size_t n,
                   struct tg_buf *from)
{
    size_t padding = frame->padlen;
    if (STAGE_SIZE - out->n < FRAME_HEAD + padding + n) {
        out->full = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    char *at = out->p + out->n;
    memcpy(at, head, FRAME_HEAD);
    at += FRAME_HEAD;
    if (padding > 0)
        *at++ = (char)(padding - 1);
    for (size_t left = n; left > 0;) {
        struct tg_str piece = tg_buf_piece(from, 0);
        size_t take = TG_MIN(piece.n, left);
        memcpy(at, piece.p, take);
        tg_buf_consume(from, take);
        at += take;
        left -= take;
    }
    if (padding > 1)
        memset(at, 0, padding - 1);
    out->n += FRAME_HEAD + padding + n;
    return 0;
}
