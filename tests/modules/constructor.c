/* A module whose code runs as soon as somebody loads it, instead of only reading it. */
#include <simpler/module.h>
#include <stdlib.h>

__attribute__((constructor)) static void run_early(void)
{
	abort();
}

static simpler_status harmless(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_SUB(harmless);
