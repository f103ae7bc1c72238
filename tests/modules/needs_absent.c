#include <stdlib.h>

#include <simpler/module.h>

__attribute__((constructor)) static void note(void)
{
	(void)setenv("SIMPLER_TEST_CONSTRUCTED", "1", 1);
}

int absent_function(void);

static simpler_status needs_absent(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return absent_function() ? SIMPLER_EUSER : SIMPLER_OK;
}

SIMPLER_SUB(needs_absent);
