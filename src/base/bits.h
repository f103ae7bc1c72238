/* Finding bits. Portable C11. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdint.h>

/* The position of the highest bit that is set; 0 when none is. */
static inline uint32_t bits_highest(uint64_t x)
{
	uint32_t bit = 0;

	for (uint32_t step = 32; step > 0; step /= 2) {
		if (x >> step) {
			x >>= step;
			bit += step;
		}
	}
	return bit;
}

/* The lowest. */
static inline uint32_t bits_lowest(uint64_t x)
{
	return bits_highest(x & (~x + 1));
}

#endif
