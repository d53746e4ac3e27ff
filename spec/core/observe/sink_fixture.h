/*
 * What the tests of sinks share: a folder with a path for a log file, a pipe, a count of the
 * troubles and recoveries that were reported, and a teardown that finds leaked sinks.
 */
#ifndef TG_SPEC_CORE_OBSERVE_SINK_FIXTURE_H
#define TG_SPEC_CORE_OBSERVE_SINK_FIXTURE_H

#include "base/clock.h"
#include "base/mem.h"
#include "observe/sink.h"
#include "support.h"

#include <signal.h>
#include <stdatomic.h>

#define SECOND TG_USEC_PER_SEC
#define QUEUE  ((size_t)8192)

static char folder[64];
static char file_path[128];
static struct support_pipe a_pipe;
static _Atomic int troubles;
static _Atomic int recoveries;

static inline void on_news(const char *spec, enum tg_sink_news news, int sys_errno)
{
    (void)spec;
    (void)sys_errno;
    atomic_fetch_add(news == TG_SINK_WORKS ? &recoveries : &troubles, 1);
}

static inline void path_in_folder(char out[static 128], const char *name)
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static inline int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    support_folder(folder);
    path_in_folder(file_path, "log");
    support_pipe_open(&a_pipe);
    atomic_store(&troubles, 0);
    atomic_store(&recoveries, 0);
    tg_sink_on_trouble(on_news);
    return 0;
}

static inline int setup_thread(void **state)
{
    return setup(state) != 0 || tg_sink_thread_start() != TG_OK;
}

/* The tests close their sinks; a stopped thread leaves none behind. */
static inline int teardown(void **state)
{
    (void)state;
    support_pipe_close(&a_pipe); /* first: a sink that a failed test left behind stalls no more */
    tg_sink_thread_stop(10 * SECOND);
    tg_sink_flush(10 * SECOND);
    tg_sink_on_trouble(NULL);
    support_remove(folder);
    return tg_mem_used(TG_MEM_OBSERVE) == 0 ? 0 : -1;
}

static inline struct tg_sink *opened(const char *spec)
{
    struct tg_sink *sink = NULL;
    assert_int_equal(tg_sink_open(spec, QUEUE, &sink), TG_OK);
    return sink;
}

static inline bool put(struct tg_sink *sink, const char *line)
{
    return tg_sink_write(sink, line, strlen(line));
}

#endif
