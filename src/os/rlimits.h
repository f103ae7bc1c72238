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

/* Have as many descriptors as the hard limit allows, for a process that serves others, and say in
 * the environment how many there were to be: the processes that it starts call
 * limits_restore_files(), since user code may rely on that, as select() does. Before there are
 * other threads, both. */
void limits_raise_files(void);
void limits_restore_files(void);

#endif
