#include "os/rlimits.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const struct {
	__rlimit_resource_t resource;
	const char *name;
} known[] = {
	{ RLIMIT_AS, "RLIMIT_AS" },
	{ RLIMIT_DATA, "RLIMIT_DATA" },
	{ RLIMIT_STACK, "RLIMIT_STACK" },
	{ RLIMIT_NOFILE, "RLIMIT_NOFILE" },
	{ RLIMIT_NPROC, "RLIMIT_NPROC" },
	{ RLIMIT_FSIZE, "RLIMIT_FSIZE" },
	{ RLIMIT_CPU, "RLIMIT_CPU" },
	{ RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK" },
	{ RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE" },
	{ RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING" },
};
static_assert(sizeof(known) / sizeof(known[0]) == LIMITS_COUNT, "all have a place");
static_assert(RLIM_INFINITY == UINT64_MAX, "no limit is the highest");

void limits_get(struct limits *out)
{
	for (int i = 0; i < LIMITS_COUNT; i++) {
		struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

		(void)getrlimit(known[i].resource, &limit);
		out->soft[i] = limit.rlim_cur;
		out->hard[i] = limit.rlim_max;
	}
}

bool limits_lowered(const struct limits *before, const struct limits *after,
                    struct limits_change *out)
{
	for (int i = 0; i < LIMITS_COUNT; i++) {
		bool soft = after->soft[i] < before->soft[i];

		if (!soft && after->hard[i] >= before->hard[i])
			continue;
		out->name = known[i].name;
		out->hard = !soft;
		out->from = soft ? before->soft[i] : before->hard[i];
		out->to = soft ? after->soft[i] : after->hard[i];
		return true;
	}
	return false;
}

/* --- descriptors --- */

#define SOFT_FILES "SIMPLER_SOFT_FILES"

void limits_raise_files(void)
{
	struct rlimit limit;
	char text[32];

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64, (uint64_t)limit.rlim_cur);
	if (setenv(SOFT_FILES, text, 1) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

void limits_restore_files(void)
{
	const char *text = getenv(SOFT_FILES);
	struct rlimit limit;

	if (!text || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = strtoull(text, NULL, 10);
	if (limit.rlim_cur > 0 && limit.rlim_cur < limit.rlim_max)
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)unsetenv(SOFT_FILES);
}
