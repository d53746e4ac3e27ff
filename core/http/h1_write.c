/* h1_write.c: see h1_write.h. */
#include "base/banned.h"
#include "http/h1_write.h"

void tg_h1_write_fields(struct tg_fmt *f, const struct tg_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct tg_field *field = &fields->v[i];
        if (tg_field_is_hop(field->id) || field->id == TG_FIELD_CONTENT_LENGTH)
            continue;
        tg_h1_write_field(f, field->name, field->value);
    }
}

void tg_h1_write_status(struct tg_fmt *f, unsigned status, struct tg_str reason)
{
    if (status == 200 && reason.n == 0) {
        tg_fmt_lit(f, "HTTP/1.1 200 OK\r\n");
        return;
    }
    tg_fmt_lit(f, "HTTP/1.1 ");
    tg_fmt_u64(f, status);
    tg_fmt_char(f, ' ');
    tg_fmt_add(f, reason.n > 0 ? reason : tg_str_c(tg_status_reason(status)));
    tg_fmt_lit(f, "\r\n");
}

size_t tg_h1_write_chunk_size(char *room, size_t size)
{
    struct tg_fmt f;
    tg_fmt_init(&f, room, 18);
    tg_fmt_hex(&f, size, 1);
    tg_fmt_lit(&f, "\r\n");
    return f.n;
}
