/*
 * A folder with a configuration, loading it, and what it said: for the tests of core/config.
 *
 * Each test has a folder of its own. The teardown fails a test that leaves memory behind.
 */
#ifndef TG_SPEC_CORE_CONFIG_FIXTURE_H
#define TG_SPEC_CORE_CONFIG_FIXTURE_H

#include "config/inspect.h"
#include "config/load.h"

#include "base/mem.h"

#include "support.h"

static char folder[64];
static char path[128]; /* of gateway.lua */
static char *text;     /* what the last load wrote */
static size_t text_size;
static struct tg_snapshot *snapshot;

static inline int setup(void **state)
{
    (void)state;
    support_folder(folder);
    snprintf(path, sizeof(path), "%s/gateway.lua", folder);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    tg_mem_fail_at(0);
    tg_snapshot_unref(&snapshot);
    support_remove(folder);
    free(text);
    text = NULL;
    return tg_mem_used(TG_MEM_CONFIG) + tg_mem_used(TG_MEM_PLUGIN) == 0 ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline void write_file(const char *name, const char *content)
{
    char full[256];

    snprintf(full, sizeof(full), "%s/%s", folder, name);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

/* A stream into `text`; closing it completes the text. */
static inline FILE *open_text(void)
{
    free(text);
    text = NULL;
    FILE *out = open_memstream(&text, &text_size);
    assert_non_null(out);
    return out;
}

/* Loads gateway.lua; the outcome stands in snapshot and text. */
static inline enum tg_err load(void)
{
    FILE *out = open_text();
    enum tg_err err = tg_config_load(path, out, &snapshot);
    fclose(out);
    return err;
}

static inline void load_text(const char *config)
{
    write_file("gateway.lua", config);
    enum tg_err err = load();
    if (err != TG_OK)
        fail_msg("%s: %s", tg_err_text(err), text);
}

static inline void assert_str(const char *expected, struct tg_str s)
{
    assert_int_equal(strlen(expected), s.n);
    assert_memory_equal(expected, s.p, s.n);
    assert_int_equal('\0', s.p[s.n]);
}

/* What most configurations of the tests begin with. */
#define HEAD                                                                                       \
    "local tg = require 'tidegate'\n"                                                              \
    "tg.listener 'a' { address = '127.0.0.1:8080' }\n"                                             \
    "tg.service 'echo' { builtin = 'echo' }\n"

/* Text of a plugin with a default, a list and needs. */
#define PLUGIN(name, stage, phase)                                                                 \
    "local S = require 'tidegate.schema'\n"                                                        \
    "local P = { name = '" name "', version = '1.0', api = 1, stage = '" stage "',\n"              \
    "  schema = S.record { wait = S.duration():default '2s', list = S.list(S.string()):default "   \
    "{} "                                                                                          \
    "},\n  needs = { body = 'both' }, limits = { memory = '64KiB' }, exports = { 'k' } }\n"        \
    "function P." phase "() end\nreturn P\n"

static inline void write_plugins(void)
{
    write_file("one.lua", "local util = require 'util'\n" PLUGIN("one", "guard", "access"));
    write_file("two.lua", PLUGIN("two", "edge", "access"));
    write_file("three.lua", PLUGIN("three", "observe", "rewrite"));
    write_file("util.lua", "return {}\n");
}

#endif
