/* What a task of the chaos suite computes, for those that run it and for the serial evaluation that
 * they are compared with. */
#ifndef CHAOS_MIX_H
#define CHAOS_MIX_H

#include <stdint.h>

/* out[i] from a[i], an element of b, and with `keep` out[i] itself; for every `step`-th i from
 * `first` on. Anything that is lost, doubled or out of order shows in every later result. */
static inline void chaos_mix(int64_t *out, const int64_t *a, const int64_t *b, uint64_t count,
                             uint64_t salt, uint64_t keep, uint64_t first, uint64_t step)
{
	for (uint64_t i = first; i < count; i += step) {
		uint64_t x = keep ? (uint64_t)out[i] : salt;

		x ^= (uint64_t)a[i] * UINT64_C(0x9e3779b97f4a7c15);
		x += (uint64_t)b[(i + salt) % count];
		x *= UINT64_C(0xbf58476d1ce4e5b9);
		out[i] = (int64_t)(x ^ x >> 29);
	}
}

#endif
