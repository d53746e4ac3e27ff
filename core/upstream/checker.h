/* checker.h: asks targets regularly whether they are well: active health.
 *
 *     tg_checker_begin()           what follows is all that is to be checked
 *     tg_checker_want() ...        one target of a service
 *     tg_checker_end()             what was not named is checked no more
 *
 * One for the process, on the keeper's loop: an origin is asked as often as its configuration says,
 * whatever the number of workers. A verdict goes to the target's tg_origin, where balancers see it;
 * a change of verdict is logged. A check opens a connection of its own and closes it, so it also
 * finds out whether connections are still taken. Those of a TCP check end when one is there.
 *
 * Checks of one service are spread: the first comes within `every` times `jitter`, the others each
 * at a distance that varies by that share.
 *
 * Bounds: one check of a target at a time; 64 KiB of an answer's body are looked at.
 * Threads: its worker's.
 */
#ifndef TG_UPSTREAM_CHECKER_H
#define TG_UPSTREAM_CHECKER_H

#include "upstream/balance.h"
#include "upstream/pool.h"

struct tg_checker;
struct tg_tls_context;

/* All pointers are borrowed and outlive it. `dialer` may be NULL: the network. NULL: no memory. */
struct tg_checker *tg_checker_new(struct tg_worker *worker, struct tg_registry *registry,
                                  const struct tg_pool_dialer *dialer) TG_MUST_USE;

/* Ends all checks; verdicts stay. */
void tg_checker_free(struct tg_checker **checker);

void tg_checker_begin(struct tg_checker *checker);

/* `tls` (NULL: clear text; a target is good only if its certificate is), `conf`, and the target's
 * host and domain are borrowed until the next tg_checker_end(). A check that went on before goes
 * on. TG_E_NOMEM: it is not checked. */
enum tg_err tg_checker_want(struct tg_checker *checker, struct tg_str service,
                            const struct tg_balance_target *target, struct tg_tls_context *tls,
                            enum tg_origin_http http, const struct tg_check_conf *conf) TG_MUST_USE;

void tg_checker_end(struct tg_checker *checker);

#endif
