/* tls_hello.h: what a server makes of a ClientHello: which certificate it shows, what it asks of
 * the client, and what plugins may change of that.
 *
 *   ClientHello -> fingerprint, name -> hooks->on_hello (see tls_conn.h) -> the set of certificates
 *
 * The functions here are for on_hello alone, while it is asked or has said WAIT. One thread, the
 * connection's.
 */
#ifndef TG_NET_TLS_HELLO_H
#define TG_NET_TLS_HELLO_H

#include "net/tls_conn.h"

/* The certificate to show. TG_E_NOT_FOUND: no set of the listener is for `name`, in any case;
 * TG_E_INVALID with `why`. */
enum tg_err tg_tls_choose(struct tg_transport *t, struct tg_str name) TG_MUST_USE;
enum tg_err tg_tls_show(struct tg_transport *t, struct tg_str cert, struct tg_str key,
                        struct tg_tls_problem *why) TG_MUST_USE;

/* The client is asked for a certificate signed by those of `ca` (PEM; empty: the listener's), of at
 * most `depth` intermediates (0: as ever); who shows none may go on. The last call counts. A
 * session is resumed only where the same was asked when it began. */
enum tg_err tg_tls_ask(struct tg_transport *t, struct tg_str ca, unsigned depth,
                       struct tg_tls_problem *why) TG_MUST_USE;

/* The number of an alert's name, "access_denied" or "unrecognized_name"; -1: there is none. */
int tg_tls_alert(struct tg_str name);

#endif
