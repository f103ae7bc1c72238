/* Arithmetic that says when the result does not fit. Portable C11; true means it fits. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	*sum = a + b;
	return *sum >= a;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
	*product = a * b;
	return a == 0 || *product / a == b;
}

/* Round up to a multiple of `unit`, a power of two. */
static inline bool checked_align(uint64_t value, uint64_t unit, uint64_t *aligned)
{
	if (!checked_add(value, unit - 1, aligned))
		return false;
	*aligned &= ~(unit - 1);
	return true;
}

#endif
