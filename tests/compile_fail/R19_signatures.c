/*
 * R19: a function declared as a callable of another kind, or with another signature, does not
 * compile, with plain cc and no flags. See R19_handles.c.
 */
#include <simpler/module.h>

static simpler_status sub(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return SIMPLER_OK;
}

static simpler_status orch(simpler_orch *of, const simpler_args *args, const simpler_config *config,
                           simpler_bytes state)
{
	(void)of;
	(void)config;
	return sub(args, state);
}

/* Not static: that is allowed, too. */
simpler_status chip(const simpler_block *block, const simpler_args *args, simpler_bytes state);

simpler_status chip(const simpler_block *block, const simpler_args *args, simpler_bytes state)
{
	(void)block;
	return sub(args, state);
}

#if defined(WRONG_SUB_AS_ORCH)
SIMPLER_ORCH(sub);
#elif defined(WRONG_SUB_AS_CHIP)
SIMPLER_CHIP(sub);
#else
SIMPLER_SUB(sub);
#endif

#if defined(WRONG_ORCH_AS_SUB)
SIMPLER_SUB(orch);
#elif defined(WRONG_ORCH_AS_CHIP)
SIMPLER_CHIP(orch);
#else
SIMPLER_ORCH(orch);
#endif

#if defined(WRONG_CHIP_AS_SUB)
SIMPLER_SUB(chip);
#elif defined(WRONG_CHIP_AS_ORCH)
SIMPLER_ORCH(chip);
#else
SIMPLER_CHIP(chip);
#endif

#if defined(WRONG_NO_STATE)
simpler_status no_state(const simpler_args *args);
SIMPLER_SUB(no_state);
#elif defined(WRONG_WRITABLE_ARGS)
simpler_status writable_args(simpler_args *args, simpler_bytes state);
SIMPLER_SUB(writable_args);
#elif defined(WRONG_RESULT)
void no_result(const simpler_args *args, simpler_bytes state);
SIMPLER_SUB(no_result);
#elif defined(WRONG_STATE_BY_POINTER)
simpler_status pointer(const simpler_args *args, const simpler_bytes *state);
SIMPLER_SUB(pointer);
#elif defined(WRONG_TWICE)
SIMPLER_SUB(sub);
#endif
