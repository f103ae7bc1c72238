#include <stdlib.h>

#include <simpler/module.h>

__attribute__((constructor)) static void note(void)
{
	(void)setenv("SIMPLER_TEST_CONSTRUCTED", "1", 1);
}

__attribute__((weak)) simpler_status simpler_of_a_later_version(void);

static simpler_status needs_weak(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return simpler_of_a_later_version ? simpler_of_a_later_version() : SIMPLER_OK;
}

SIMPLER_SUB(needs_weak);
