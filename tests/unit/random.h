/*
 * Random operations that can be repeated: the seed is printed, and SIMPLER_SEED sets it again.
 * SIMPLER_OPERATIONS sets their number; a build with a sanitizer does a tenth by default.
 */
#ifndef TESTS_UNIT_RANDOM_H
#define TESTS_UNIT_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RANDOM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RANDOM_SANITIZED 1
#endif
#endif
#ifndef RANDOM_SANITIZED
#define RANDOM_SANITIZED 0
#endif

static uint64_t random_state;

static inline uint64_t random_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* Seed, and return the number of operations to do. */
static inline uint64_t random_begin(const char *what, uint64_t operations)
{
	operations = random_environment("SIMPLER_OPERATIONS",
	                                RANDOM_SANITIZED ? operations / 10 : operations);
	random_state = random_environment("SIMPLER_SEED", clock_unix_ms());
	printf("%s: %llu operations, SIMPLER_SEED=%llu\n", what, (unsigned long long)operations,
	       (unsigned long long)random_state);
	fflush(stdout);
	return operations;
}

/* The next number of a splitmix64 sequence with this state. */
static inline uint64_t random_from(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint32_t random_below(uint32_t limit)
{
	return (uint32_t)(random_from(&random_state) % limit);
}

#endif
