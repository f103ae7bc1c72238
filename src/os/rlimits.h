/* The resource limits of this process, such as of address space and descriptors (setrlimit()), for
 * who wants to know whether code has lowered some. */
#ifndef OS_RLIMITS_H
#define OS_RLIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define LIMITS_COUNT 10

struct limits {
	uint64_t soft[LIMITS_COUNT], hard[LIMITS_COUNT]; /* UINT64_MAX: none */
};

void limits_get(struct limits *out);

/* One that is lower than it was. */
struct limits_change {
	const char *name; /* "RLIMIT_AS" */
	bool hard;
	uint64_t from, to;
};
/* The first there is; false: none. That of core dumps does not count. */
bool limits_lowered(const struct limits *before, const struct limits *after,
                    struct limits_change *out);

#endif
