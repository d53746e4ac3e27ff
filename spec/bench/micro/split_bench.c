/*
 * What it costs to choose among services by key (core/route/split.c), for two shares and for 32:
 * the shortest of several rounds, in nanoseconds of CPU time a choice.
 *
 * One thread; under a second. No arguments.
 */
#include "route/split.h"

#include <stdio.h>
#include <time.h>

enum { ROUNDS = 7, CHOICES = 100000, SHARES_MAX = 32 };

static volatile uint32_t sink;

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double round_of(const struct tg_split_share *shares, uint32_t n)
{
    char key[] = "0123456789abcdef0123456789abcdef"; /* as long as a session's identifier */
    uint64_t began = now_ns();
    for (uint32_t i = 0; i < CHOICES; i++) {
        memcpy(key, &i, sizeof(i));
        sink = tg_split_by_key(shares, n, tg_str(key, sizeof(key) - 1));
    }
    return (double)(now_ns() - began) / CHOICES;
}

static void measure(uint32_t n)
{
    struct tg_split_share shares[SHARES_MAX];
    double best = 0;
    for (uint32_t i = 0; i < n; i++) {
        char name[16];
        int length = snprintf(name, sizeof(name), "service-%u", i);
        shares[i] = (struct tg_split_share){tg_split_seed(tg_str(name, (size_t)length)), i + 1};
    }
    for (int i = 0; i < ROUNDS; i++) {
        double ns = round_of(shares, n);
        if (i == 0 || ns < best)
            best = ns;
    }
    printf("bench split.key_ns.%u %.1f ns\n", n, best);
}

int main(void)
{
    measure(2);
    measure(SHARES_MAX);
    return 0;
}
