/* hide.h: takes a query parameter or a cookie out of what goes to the origin: credentials, as a
 * rule, that are the gateway's business. What other plugins changed before stays changed, and the
 * rest of query and cookies as it was, byte by byte.
 */
#ifndef TG_GATEWAY_HIDE_H
#define TG_GATEWAY_HIDE_H

#include "gateway/request.h"

/* All parameters whose name, decoded, is `name`. TG_E_NOMEM. */
enum tg_err tg_request_remove_query(struct tg_request *r, struct tg_str name) TG_MUST_USE;

/* All cookies called `name`, and the header with the last of them. TG_E_NOMEM. */
enum tg_err tg_request_remove_cookie(struct tg_request *r, struct tg_str name) TG_MUST_USE;

#endif
