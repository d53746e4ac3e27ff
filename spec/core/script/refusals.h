/*
 * Events of an allocator that count its refusals, each of which has to be for want of memory.
 */
#ifndef SPEC_SCRIPT_REFUSALS_H
#define SPEC_SCRIPT_REFUSALS_H

#include "script/alloc.h"

static unsigned refused;

static void on_pressure(void *arg)
{
    (void)arg;
}

static void on_refused(void *arg, enum tg_kill reason)
{
    (void)arg;
    assert_int_equal(reason, TG_KILL_MEMORY);
    refused++;
}

static const struct tg_alloc_events refusals = {.on_pressure = on_pressure,
                                                .on_refused = on_refused};

#endif
