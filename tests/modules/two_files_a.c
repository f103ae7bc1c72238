/* One half of a module of two files: their descriptors have to follow each other without gaps. */
#include <simpler/module.h>

static simpler_status first(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_SUB(first);

static simpler_status a_second_one_with_a_name_that_is_long(const simpler_args *args,
                                                            simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_SUB(a_second_one_with_a_name_that_is_long);
