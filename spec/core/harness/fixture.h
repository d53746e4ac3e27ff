/*
 * A whole gateway for C tests (harness.h) whose client and origins the test plays; nobody looks at
 * what happens inside. One at a time.
 */
#ifndef TG_SPEC_CORE_HARNESS_FIXTURE_H
#define TG_SPEC_CORE_HARNESS_FIXTURE_H

#include "harness/harness.h"

#include "config/load.h"
#include "config/scratch_host.h"
#include "support.h"

#define FIXTURE_DIALS 8

/* What the gateway wants connected, in order; `origins` are the test's ends, -1: given up. */
struct fixture_dials {
    unsigned count, settled;
    uint32_t ids[FIXTURE_DIALS];
    int origins[FIXTURE_DIALS];
};

static inline void fixture_on_dial(void *arg, uint32_t id, const struct tg_addr *addr)
{
    struct fixture_dials *dials = arg;
    (void)addr;
    if (dials == NULL)
        return;
    assert_true(dials->count < FIXTURE_DIALS);
    dials->ids[dials->count++] = id;
}

static inline void fixture_on_line(void *arg, enum tg_log_level level, const char *component,
                                   struct tg_str message, const struct tg_log_field *fields,
                                   size_t count)
{
    (void)arg, (void)level, (void)component, (void)message, (void)fields, (void)count;
}

static inline void fixture_on_leave(void *arg, const struct tg_request *r,
                                    enum tg_run_outcome outcome, uint64_t cpu)
{
    (void)arg, (void)r, (void)outcome, (void)cpu;
}

static inline void fixture_on_failed(void *arg, const struct tg_request *r, struct tg_str what,
                                     enum tg_kill kill)
{
    (void)arg, (void)r, (void)what, (void)kill;
}

static inline void fixture_on_request(void *arg, const struct tg_request *r)
{
    (void)arg, (void)r;
}

static const struct tg_harness_events fixture_events = {
    .on_dial = fixture_on_dial,
    .on_line = fixture_on_line,
    .on_enter = fixture_on_request,
    .on_leave = fixture_on_leave,
    .on_failed = fixture_on_failed,
    .on_wrote = NULL, /* not asked for */
    .on_end = fixture_on_request,
};

/* A harness without a configuration; dials go to `dials`, or (NULL) come to nothing. */
static inline struct tg_harness *fixture_harness(struct fixture_dials *dials)
{
    struct tg_harness *h;
    if (dials != NULL)
        *dials = (struct fixture_dials){0};
    assert_int_equal(tg_harness_new(UINT64_C(1700000000) * 1000000, 1, &fixture_events, dials, &h),
                     TG_OK);
    return h;
}

/* The client's end of a new connection; -1: it was refused. */
static inline int fixture_client(struct tg_harness *h)
{
    struct tg_addr peer;
    int fd;
    assert_int_equal(tg_addr_parse(TG_STR("192.0.2.1:1000"), &peer), TG_OK);
    return tg_harness_connect(h, 0, &peer, &fd) == TG_OK ? fd : -1;
}

/* Every connection that was asked for comes about. */
static inline void fixture_settle(struct tg_harness *h, struct fixture_dials *dials)
{
    while (dials->settled < dials->count) {
        unsigned i = dials->settled++;
        if (tg_harness_settle_dial(h, dials->ids[i], TG_OK, &dials->origins[i]) != TG_OK)
            dials->origins[i] = -1;
        assert_int_equal(tg_harness_run(h), TG_OK);
    }
}

/* Ends the origins' part and frees the harness. */
static inline void fixture_free(struct tg_harness **h, const struct fixture_dials *dials)
{
    for (unsigned i = 0; dials != NULL && i < dials->settled; i++) {
        if (dials->origins[i] >= 0)
            close(dials->origins[i]);
    }
    tg_harness_free(h);
}

/* All that has come for the client, terminated, and its end of the connection is closed. */
static inline void fixture_read(struct tg_harness *h, int fd, char *answer, size_t size)
{
    size_t n = 0;
    ssize_t got = 1;
    while (got > 0 && n < size - 1) {
        got = read(fd, answer + n, size - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    }
    answer[n] = '\0';
    close(fd);
    assert_int_equal(tg_harness_run(h), TG_OK);
}

/* The snapshot of the configuration "gateway.lua" among `files`. */
static inline struct tg_snapshot *fixture_load(const struct tg_config_files *files)
{
    struct tg_snapshot *snapshot = NULL;
    assert_int_equal(tg_config_load_over("gateway.lua", files, stderr, &snapshot), TG_OK);
    return snapshot;
}

#endif
