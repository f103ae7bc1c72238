/* Where there is no libfabric to build with. */
#include "bare_fabric.h"

bool bare_fabric_start(struct bare_fabric *fabric)
{
	(void)fabric;
	return false;
}

void bare_fabric_stop(struct bare_fabric *fabric)
{
	(void)fabric;
}

bool bare_fabric_run(struct bare_fabric *fabric, bool read, size_t size, uint64_t count,
                     double *nanoseconds)
{
	(void)fabric;
	(void)read;
	(void)size;
	(void)count;
	(void)nanoseconds;
	return false;
}
