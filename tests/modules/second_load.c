/* A module that one process loads, and that ends all that load it afterwards: the first takes the
 * file away that SIMPLER_TEST_FIRST_LOAD names. */
#include <simpler/module.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void survive_once(void)
{
	const char *first = getenv("SIMPLER_TEST_FIRST_LOAD");

	if (!first || unlink(first) != 0)
		_exit(7);
}

static simpler_status loaded_once(simpler_orch *orch, const simpler_args *args,
                                  const simpler_config *config, simpler_bytes state)
{
	(void)orch;
	(void)args;
	(void)config;
	(void)state;
	return SIMPLER_OK;
}
SIMPLER_ORCH(loaded_once);
