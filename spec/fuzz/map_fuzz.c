/*
 * The bounded map against the model of spec/core/base/map_model.h: the input chooses the caps, the
 * policy and the operations. Any difference is a crash.
 */
#include "base/banned.h"
#include "base/map_model.h"

#include "base/assert.h"

struct input {
    const uint8_t *p;
    size_t n;
};

/* The next byte as a choice; zero when the input is used up. */
static unsigned input_below(void *arg, unsigned bound)
{
    struct input *in = arg;
    unsigned value = 0;
    for (unsigned reach = 1; reach < bound && in->n > 0; reach <<= 8) {
        value = value << 8 | *in->p++;
        in->n--;
    }
    return value % bound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model_run run;
    struct input in = {data, size};
    struct model_source source = {input_below, &in};
    tg_assert(model_run_open(&run, &source));
    while (in.n > 0)
        tg_assert(model_step(&run, &source));
    tg_assert(model_agrees(&run));
    tg_map_free(&run.map);
    return 0;
}
