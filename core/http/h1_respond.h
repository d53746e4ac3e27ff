/* h1_respond.h: the writing half of h1_server.h, and what both halves call of each other. Private
 * to these two files. */
#ifndef TG_HTTP_H1_RESPOND_H
#define TG_HTTP_H1_RESPOND_H

#include "http/h1_server.h"

/* The operations of the stream; in h1_respond.c. */
extern const struct tg_stream_ops tg_h1_server_ops;

/* Sets interest and deadline to what the state wants. */
void tg_h1_server_settle(struct tg_h1_server *s);

/* Decodes (but in a tunnel) and hands over what is in the input, as far as it is wanted. */
void tg_h1_server_pump(struct tg_h1_server *s);

/* After send_end: the next request, or the end, as soon as nothing is pending. */
void tg_h1_server_advance(struct tg_h1_server *s);

/* From now on both directions are raw bytes. */
void tg_h1_server_begin_tunnel(struct tg_h1_server *s);

/* The connection failed inside an operation: told at the end of the round. */
void tg_h1_server_fail_later(struct tg_h1_server *s, enum tg_err err);

/* Closes with a reset, without an event to the gateway but `closed`. */
void tg_h1_server_abort(struct tg_h1_server *s);

#endif
