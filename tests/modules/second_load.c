/* A module that its trial and one engine load, and that ends all that load it afterwards: each
 * takes away one of the bytes of the file that SIMPLER_TEST_LOADS names. */
#include <fcntl.h>
#include <simpler/module.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void survive_twice(void)
{
	const char *path = getenv("SIMPLER_TEST_LOADS");
	int file = path ? open(path, O_WRONLY) : -1;
	off_t left = lseek(file, 0, SEEK_END);

	if (left < 1 || ftruncate(file, left - 1) != 0)
		_exit(7);
	(void)close(file);
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
