#include "base/stop.h"

#include "simpler/callable.h"

static _Atomic(const _Atomic uint32_t *) of_process;
static _Thread_local const _Atomic uint32_t *of_thread;

const _Atomic uint32_t *stop_watch_process(const _Atomic uint32_t *flag)
{
	return atomic_exchange(&of_process, flag);
}

const _Atomic uint32_t *stop_watch_thread(const _Atomic uint32_t *flag)
{
	const _Atomic uint32_t *before = of_thread;

	of_thread = flag;
	return before;
}

bool simpler_should_stop(void)
{
	const _Atomic uint32_t *flag = of_thread;

	if (!flag)
		flag = atomic_load_explicit(&of_process, memory_order_acquire);
	return flag && atomic_load_explicit(flag, memory_order_acquire) != 0;
}
