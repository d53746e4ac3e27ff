/* guess.c: see guess.h. Both words lie in a table on the stack, which is why they are short. */
#include "base/banned.h"
#include "base/guess.h"

#include <string.h>

enum {
    WORD_MAX = 31,
    SHORTEST_BEGINNING = 3, /* "on" begins too many words to say anything */
};

unsigned tg_guess_distance(const char *a, const char *b)
{
    size_t rows = strlen(a), columns = strlen(b);
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    if (rows > WORD_MAX || columns > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= rows; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= columns; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= rows; i++) {
        for (size_t j = 1; j <= columns; j++) {
            unsigned replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            unsigned best = TG_MIN(replaced, TG_MIN(d[i - 1][j], d[i][j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            d[i][j] = swapped ? TG_MIN(best, d[i - 2][j - 2] + 1) : best;
        }
    }
    return d[rows][columns];
}

unsigned tg_guess_rank(const char *word, const char *known)
{
    size_t n = strlen(word);
    if (n > 0 && strncmp(word, known, n) == 0)
        return 0;
    unsigned distance = tg_guess_distance(word, known);
    if (distance <= TG_MAX(1, strlen(known) / 3))
        return distance;
    bool longer = strlen(known) >= SHORTEST_BEGINNING && strncmp(word, known, strlen(known)) == 0;
    return longer ? WORD_MAX : TG_GUESS_NONE;
}
