/* The other half of two_files_a.c. */
#include <simpler/module.h>

static simpler_status kernel(const simpler_block *block, const simpler_args *args,
                             simpler_bytes state)
{
	(void)block;
	(void)args;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_CHIP(kernel);
