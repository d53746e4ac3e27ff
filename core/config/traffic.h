/* traffic.h: what a route does with a request besides handing it on: rewriting, redirects, answers
 * of its own for failures, and which service gets it or a copy of it.
 *
 * Parts of a snapshot: immutable, in its memory. A route holds a pointer to each that it has, NULL
 * for the others, so that a route without them pays for a look.
 */
#ifndef TG_CONFIG_TRAFFIC_H
#define TG_CONFIG_TRAFFIC_H

#include "http/field.h"
#include "http/template.h"
#include "route/split.h"

struct tg_service_conf;
struct tg_chains;

/* A template in the snapshot's memory. Its names were checked against what the route captures. */
struct tg_template {
    const struct tg_template_part *parts;
    uint32_t n;
    bool set; /* it was given; one of no parts is an empty text */
};

/* What becomes of a path. At most one of `path` and `prefix`. */
struct tg_path_conf {
    struct tg_template path;   /* in place of the whole path */
    struct tg_template prefix; /* in place of what the route's pattern matched */
    struct tg_template query;  /* in place of the query */
};

struct tg_rewrite_conf {
    struct tg_path_conf path;
    bool strip_matched; /* what the pattern matched is taken off */
    struct tg_template host;
};

struct tg_redirect_conf {
    uint16_t status;
    struct tg_str scheme; /* empty: the request's */
    struct tg_str host;   /* empty: the request's */
    uint16_t port;        /* 0: see tg_rewrite_location() */
    struct tg_path_conf path;
};

/* By what a choice is sticky. */
enum tg_sticky {
    TG_STICKY_NONE,
    TG_STICKY_COOKIE,
    TG_STICKY_HEADER,
    TG_STICKY_IP,
    TG_STICKY_CONSUMER, /* known after access plugins only: the services have no plugins of their
                           own */
};

struct tg_sticky_conf {
    enum tg_sticky by;
    struct tg_str name; /* of the cookie or header */
};

/* One service that a request may go to instead of the route's. */
struct tg_choice_conf {
    const struct tg_service_conf *service;
    const struct tg_chains *const *chains; /* as those of a route: one for each listener */
};

struct tg_split_conf {
    struct tg_sticky_conf sticky;
    const struct tg_choice_conf *choices;
    const struct tg_split_share *shares; /* of the same indexes */
    uint32_t n;
};

struct tg_canary_conf {
    struct tg_choice_conf choice;
    uint64_t seed;
    struct tg_sticky_conf sticky;
    uint32_t percent;     /* in hundredths */
    struct tg_str header; /* empty: none */
    struct tg_str value;  /* of the header; empty: any */
};

struct tg_mirror_conf {
    const struct tg_service_conf *service;
    uint32_t percent;  /* in hundredths */
    uint64_t max_body; /* bytes */
};

/* What a template of an answer may name. */
enum tg_answer_fact {
    TG_FACT_STATUS,
    TG_FACT_REASON,
    TG_FACT_CODE,
    TG_FACT_DETAIL,
    TG_FACT_REQUEST_ID,
    TG_FACT_METHOD, /* from here on: what the client sent */
    TG_FACT_HOST,
    TG_FACT_PATH,
    TG_FACTS
};

/* Name of a fact as templates write it. */
extern const char *const tg_answer_fact_names[TG_FACTS];

struct tg_answer_part {
    struct tg_str text;
    enum tg_answer_fact fact; /* TG_FACTS: the text */
};

/* An answer of the gateway's own. */
struct tg_answer_conf {
    uint16_t status; /* 400..599; 4 or 5: all of that class that no other names */
    struct tg_str type;
    enum tg_template_escape escape;
    const struct tg_answer_part *parts;
    uint32_t n;
    const struct tg_field *fields;
    uint32_t field_count;
};

struct tg_answers_conf {
    const struct tg_answer_conf *v;
    uint32_t n;
};

/* The answer for `status`: its own, else its class's; NULL: none. `answers` may be NULL. */
const struct tg_answer_conf *tg_answers_find(const struct tg_answers_conf *answers,
                                             unsigned status);

#endif
