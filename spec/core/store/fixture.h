/* fixture.h: a registry with one zone, and values made by hand. */
#ifndef SPEC_STORE_FIXTURE_H
#define SPEC_STORE_FIXTURE_H

#include "store/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SEC TG_USEC_PER_SEC

struct fixture {
    size_t before; /* memory of zones when it began */
    struct tg_zones *zones;
    struct tg_zone *zone;
};

static inline void fixture_open(struct fixture *f, enum tg_zone_kind kind, uint64_t size)
{
    f->before = tg_mem_used(TG_MEM_CACHE);
    f->zones = tg_zones_new();
    assert_non_null(f->zones);
    assert_int_equal(tg_zones_open(f->zones, kind, TG_STR("z"), size, &f->zone), TG_OK);
}

/* Nothing is left of it. */
static inline void fixture_close(struct fixture *f)
{
    tg_zone_unref(&f->zone);
    tg_zones_free(&f->zones);
    assert_int_equal(tg_mem_used(TG_MEM_CACHE), f->before);
}

static inline struct tg_zone_value number(double n)
{
    return (struct tg_zone_value){.type = TG_ZONE_NUMBER, .number = n};
}

static inline struct tg_zone_value text(const char *s)
{
    struct tg_zone_value value = {.type = TG_ZONE_STRING, .text = tg_zone_text_new(s, strlen(s))};
    assert_non_null(value.text);
    return value;
}

static inline void assert_text(struct tg_zone_value *value, const char *expected)
{
    assert_int_equal(value->type, TG_ZONE_STRING);
    assert_int_equal(value->text->n, strlen(expected));
    assert_memory_equal(value->text->bytes, expected, value->text->n);
    tg_zone_value_release(value);
}

#endif
