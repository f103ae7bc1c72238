#include "os/cpu.h"

#include <sched.h>

uint32_t cpu_number(void)
{
	int number = sched_getcpu();

	return number < 0 ? CPU_UNKNOWN : (uint32_t)number + 1;
}
