#include "os/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static void fill(void *out, size_t size)
{
	uint8_t *next = out;

	while (size > 0) {
		ssize_t got = getrandom(next, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		/* There is no other source that would do; a kernel that has none is none of ours.
		 */
		if (got <= 0)
			abort();
		next += got;
		size -= (size_t)got;
	}
}

uint64_t random_u64(void)
{
	uint64_t number = 0;

	while (number == 0)
		fill(&number, sizeof(number));
	return number;
}
