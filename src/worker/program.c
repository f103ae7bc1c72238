/* Functions of the running program as callables, and the program as what its children run. */
#include "simpler/program.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/host_program.h"
#include "ipc/spawn.h"
#include "simpler/log.h"
#include "worker/nested.h"
#include "worker/worker.h"

void simpler_program_serve(void)
{
	bool is_helper;

	/* Else a helper might take itself for the program, and start another. */
	if (spawn_is_own_helper(&is_helper) != SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_ERROR, "this program cannot serve itself: %s",
		            simpler_last_error());
		return;
	}
	host_program_set_own();
	if (!is_helper)
		return;
	/* What tasks print goes where it goes in simpler-host. */
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	exit(nested_helper_main());
}

static simpler_status check(const struct callable_spec *spec, const uint64_t *out)
{
	if (!spec->function || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a function and a place for its handle are needed, not NULL");
	if (!host_program_is_own())
		return error_raise(
			SIMPLER_ESTATE,
			"children of this program run simpler-host, which has none of its "
			"functions; make simpler_program_serve() the first statement of main(), "
			"or put the function into a module");
	return SIMPLER_OK;
}

static simpler_status add_to_worker(simpler_worker *worker, const struct callable_spec *spec,
                                    uint64_t *out)
{
	simpler_status status = check(spec, out);

	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	return status == SIMPLER_OK ? worker_register(worker, spec, out) : status;
}

static simpler_status add_to_run(simpler_orch *orch, const struct callable_spec *spec,
                                 uint64_t *out)
{
	simpler_status status = check(spec, out);

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a function without a run; ask from an "
		                                   "orchestration function, with its own orch");
	return status == SIMPLER_OK ? run_register(run_of(orch), spec, out) : status;
}

static struct callable_spec spec_of(simpler_kind kind, const char *name, simpler_bytes state)
{
	return (struct callable_spec){ .name = name, .kind = kind, .state = state };
}

/* The names in parentheses are those of functions, not of the macros that check what they get. */

simpler_status(simpler_program_sub)(simpler_worker *worker, simpler_sub_function *function,
                                    const char *name, simpler_bytes state, simpler_sub *out)
{
	struct callable_spec spec = spec_of(SIMPLER_KIND_SUB, name, state);

	memcpy(&spec.function, &function, sizeof(function));
	return add_to_worker(worker, &spec, out ? &out->id : NULL);
}

simpler_status(simpler_program_orch_fn)(simpler_worker *worker, simpler_orch_function *function,
                                        const char *name, simpler_bytes state, simpler_orch_fn *out)
{
	struct callable_spec spec = spec_of(SIMPLER_KIND_ORCH, name, state);

	memcpy(&spec.function, &function, sizeof(function));
	return add_to_worker(worker, &spec, out ? &out->id : NULL);
}

simpler_status(simpler_program_chip)(simpler_worker *worker, simpler_chip_function *function,
                                     const char *name, simpler_bytes state, simpler_chip *out)
{
	struct callable_spec spec = spec_of(SIMPLER_KIND_CHIP, name, state);

	memcpy(&spec.function, &function, sizeof(function));
	return add_to_worker(worker, &spec, out ? &out->id : NULL);
}

simpler_status(simpler_orch_program_sub)(simpler_orch *orch, simpler_sub_function *function,
                                         const char *name, simpler_bytes state, simpler_sub *out)
{
	struct callable_spec spec = spec_of(SIMPLER_KIND_SUB, name, state);

	memcpy(&spec.function, &function, sizeof(function));
	return add_to_run(orch, &spec, out ? &out->id : NULL);
}

simpler_status(simpler_orch_program_orch_fn)(simpler_orch *orch, simpler_orch_function *function,
                                             const char *name, simpler_bytes state,
                                             simpler_orch_fn *out)
{
	struct callable_spec spec = spec_of(SIMPLER_KIND_ORCH, name, state);

	memcpy(&spec.function, &function, sizeof(function));
	return add_to_run(orch, &spec, out ? &out->id : NULL);
}

simpler_status(simpler_orch_program_chip)(simpler_orch *orch, simpler_chip_function *function,
                                          const char *name, simpler_bytes state, simpler_chip *out)
{
	struct callable_spec spec = spec_of(SIMPLER_KIND_CHIP, name, state);

	memcpy(&spec.function, &function, sizeof(function));
	return add_to_run(orch, &spec, out ? &out->id : NULL);
}
