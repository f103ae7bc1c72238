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

/* A function of the program, before anything is known of the worker. */
struct request {
	const void *function; /* a function's address is one of data, too */
	const char *name;
	simpler_kind kind;
	simpler_bytes state;
	uint64_t *out;
};

static simpler_status check(const struct request *request)
{
	if (!request->function || !request->out)
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

static simpler_status add(struct worker_core *core, const struct request *request,
                          const struct exec_callable **out)
{
	return callables_add_function(core->callables, request->function, request->name,
	                              request->kind, request->state, out);
}

static simpler_status add_to_worker(simpler_worker *worker, const struct request *request)
{
	const struct exec_callable *callable;
	simpler_status status = check(request);

	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	if (status == SIMPLER_OK)
		status = add(worker->core, request, &callable);
	return status == SIMPLER_OK ? worker_publish(worker, callable, request->out) : status;
}

static simpler_status add_to_run(simpler_orch *orch, const struct request *request)
{
	const struct exec_callable *callable;
	simpler_status status = check(request);

	if (!orch)
		return error_raise(SIMPLER_EINVAL, "a function without a run; ask from an "
		                                   "orchestration function, with its own orch");
	if (status == SIMPLER_OK)
		status = add(run_of(orch)->core, request, &callable);
	if (status == SIMPLER_OK)
		*request->out = callable->key;
	return status;
}

static struct request request_of(simpler_kind kind, const char *name, simpler_bytes state,
                                 uint64_t *out)
{
	return (struct request){ .name = name, .kind = kind, .state = state, .out = out };
}

/* The names in parentheses are those of functions, not of the macros that check what they get. */

simpler_status(simpler_program_sub)(simpler_worker *worker, simpler_sub_function *function,
                                    const char *name, simpler_bytes state, simpler_sub *out)
{
	struct request request = request_of(SIMPLER_KIND_SUB, name, state, out ? &out->id : NULL);

	memcpy(&request.function, &function, sizeof(function));
	return add_to_worker(worker, &request);
}

simpler_status(simpler_program_orch_fn)(simpler_worker *worker, simpler_orch_function *function,
                                        const char *name, simpler_bytes state, simpler_orch_fn *out)
{
	struct request request = request_of(SIMPLER_KIND_ORCH, name, state, out ? &out->id : NULL);

	memcpy(&request.function, &function, sizeof(function));
	return add_to_worker(worker, &request);
}

simpler_status(simpler_program_chip)(simpler_worker *worker, simpler_chip_function *function,
                                     const char *name, simpler_bytes state, simpler_chip *out)
{
	struct request request = request_of(SIMPLER_KIND_CHIP, name, state, out ? &out->id : NULL);

	memcpy(&request.function, &function, sizeof(function));
	return add_to_worker(worker, &request);
}

simpler_status(simpler_orch_program_sub)(simpler_orch *orch, simpler_sub_function *function,
                                         const char *name, simpler_bytes state, simpler_sub *out)
{
	struct request request = request_of(SIMPLER_KIND_SUB, name, state, out ? &out->id : NULL);

	memcpy(&request.function, &function, sizeof(function));
	return add_to_run(orch, &request);
}

simpler_status(simpler_orch_program_orch_fn)(simpler_orch *orch, simpler_orch_function *function,
                                             const char *name, simpler_bytes state,
                                             simpler_orch_fn *out)
{
	struct request request = request_of(SIMPLER_KIND_ORCH, name, state, out ? &out->id : NULL);

	memcpy(&request.function, &function, sizeof(function));
	return add_to_run(orch, &request);
}

simpler_status(simpler_orch_program_chip)(simpler_orch *orch, simpler_chip_function *function,
                                          const char *name, simpler_bytes state, simpler_chip *out)
{
	struct request request = request_of(SIMPLER_KIND_CHIP, name, state, out ? &out->id : NULL);

	memcpy(&request.function, &function, sizeof(function));
	return add_to_run(orch, &request);
}
