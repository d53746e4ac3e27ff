/* guess.h: which of some known words may have been meant by one that is not known.
 *
 * For messages about names: commands, options, what the plugin API calls its functions. Pure
 * functions that allocate nothing; the cost is the product of two lengths, of which each is
 * bounded.
 */
#ifndef TG_BASE_GUESS_H
#define TG_BASE_GUESS_H

#include "base/defs.h"

#define TG_GUESS_NONE (~0u)

/* How many letters must be inserted, removed, replaced or swapped with their neighbour to make one
 * word of the other (optimal string alignment); words of more than 31 bytes count as far apart. */
unsigned tg_guess_distance(const char *a, const char *b);

/* How good a guess `known` is for `word`: smaller is better. TG_GUESS_NONE unless the word is the
 * beginning of the known one, at most a third of its letters away from it, or begins with it
 * ("request" for "req"): a worse guess would send people the wrong way. */
unsigned tg_guess_rank(const char *word, const char *known);

#endif
