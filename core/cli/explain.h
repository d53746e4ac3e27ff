/* explain.h: what a configuration does with one request, without a gateway.
 *
 * The file is loaded as `run` would load it, the request is normalised and matched by the code that
 * serves, and lua/tidegate/inspect/explain.lua tells what came of it.
 *
 * Threads: any. Takes as long as a check.
 */
#ifndef TG_CLI_EXPLAIN_H
#define TG_CLI_EXPLAIN_H

#include "cli/args.h"

struct tg_explain {
    const char *path; /* of the configuration */
    const char *method;
    const char *url;                        /* "http://host:port/path?query", or "/path" */
    const char *headers[TG_ARGS_GIVEN_MAX]; /* "name: value" */
    unsigned header_count;
    const char *client; /* address; NULL: 127.0.0.1 */
    const char *sni;    /* NULL: that of the URL, where its scheme is https */
    bool json;
};

/* Tells on `out`; mistakes and what cannot be understood go to `err`. The exit status: 0 told,
 * whatever the verdict, 1 the configuration has mistakes, 2 the request is none, 3 the system
 * refused something. */
int tg_explain(const struct tg_explain *question, FILE *out, FILE *err) TG_MUST_USE;

#endif
