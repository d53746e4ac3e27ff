/* h1_write.h: heads of HTTP/1.1 messages as text.
 *
 * Fields that describe the connection or the framing are never copied from a list: they are
 * written here from what is known of the message, so nothing that a peer or a plugin put into a
 * list can change where a message ends.
 */
#ifndef TG_HTTP_H1_WRITE_H
#define TG_HTTP_H1_WRITE_H

#include "base/fmt.h"
#include "http/message.h"

/* "name: value" and the end of the line. */
static inline void tg_h1_write_field(struct tg_fmt *f, struct tg_str name, struct tg_str value)
{
    char *at = tg_fmt_reserve(f, name.n + value.n + 4);
    if (at == NULL)
        return;
    memcpy(at, name.p, name.n);
    at += name.n;
    *at++ = ':';
    *at++ = ' ';
    if (value.n > 0)
        memcpy(at, value.p, value.n);
    at += value.n;
    *at++ = '\r';
    *at = '\n';
    f->n += name.n + value.n + 4;
}

/* All fields but those of the connection and of the framing. */
void tg_h1_write_fields(struct tg_fmt *f, const struct tg_fields *fields);

/* "HTTP/1.1 200 OK" with the registered reason, or the head's own. */
void tg_h1_write_status(struct tg_fmt *f, unsigned status, struct tg_str reason);

/* Size line of a chunk into `room` (at least 18 bytes); its length. */
size_t tg_h1_write_chunk_size(char *room, size_t size);

#endif
