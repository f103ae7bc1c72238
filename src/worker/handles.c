/* Modules and libraries of a program's worker, and the handles that it takes of their callables. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/library.h"
#include "catalog/module_read.h"
#include "catalog/payload.h"
#include "worker/registration.h"
#include "worker/worker.h"

struct simpler_module {
	simpler_worker *worker;
	struct module *module;
	simpler_module *next;
};

/* --- modules --- */

/* With the signature beside it, if there is one. */
static simpler_status add_image(struct worker_core *core, const char *path,
                                const struct digest *digest, int fd, struct module **out)
{
	struct signature signature;
	simpler_status status = module_read_signature(path, digest, &signature);
	bool is_signed = status == SIMPLER_OK;

	if (!is_signed && status != SIMPLER_ENOTFOUND)
		return status;
	return modules_add(core->modules, digest, fd, is_signed ? &signature : NULL, out);
}

static simpler_status read_module(struct worker_core *core, const char *path, struct module **out)
{
	struct digest digest;
	int fd;
	simpler_status status = module_read_image(path, &digest, &fd);

	if (status != SIMPLER_OK)
		return status;
	status = add_image(core, path, &digest, fd, out);
	(void)close(fd);
	return status;
}

static simpler_status give(simpler_worker *worker, struct module *module, simpler_module **out)
{
	simpler_module *given = calloc(1, sizeof(*given));

	if (!given)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a module");
	given->worker = worker;
	given->module = module;
	given->next = worker->modules;
	worker->modules = given;
	*out = given;
	return SIMPLER_OK;
}

simpler_status simpler_module_load(simpler_worker *worker, const char *path, simpler_module **out)
{
	struct module *module;
	simpler_status status;

	if (!worker || !path || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a worker, a path and a result are needed, not NULL");
	status = read_module(worker->core, path, &module);
	if (status != SIMPLER_OK)
		return error_context("loading module '%s'", path);
	return give(worker, module, out);
}

void worker_release_modules(simpler_worker *worker)
{
	while (worker->modules) {
		simpler_module *module = worker->modules;

		worker->modules = module->next;
		free(module);
	}
}

/* --- libraries --- */

static simpler_status read_library(simpler_worker *worker, const char *name, struct module **out)
{
	const char *directory = worker->library_dir;
	struct digest digest;
	int file, fd;
	simpler_status status = library_open(&directory, 1, name, &file);

	if (status == SIMPLER_ENOTFOUND)
		return error_raise(SIMPLER_ENOTFOUND,
		                   "there is no library '%s' in library_dir, '%s'; put %s.so there",
		                   name, directory, name);
	if (status != SIMPLER_OK)
		return status;
	status = module_read_image_from(file, name, &digest, &fd);
	(void)close(file);
	if (status != SIMPLER_OK)
		return status;
	status = modules_add_library(worker->core->modules, name, &digest, fd, out);
	(void)close(fd);
	return status;
}

simpler_status simpler_library_open(simpler_worker *worker, const char *name, simpler_module **out)
{
	struct module *module;
	simpler_status status;

	if (!worker || !name || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a worker, a library's name and a result are needed, not NULL");
	if (!payload_library_valid(name, strlen(name)))
		return error_raise(SIMPLER_EINVAL,
		                   "'%.80s' is no name of a library: 1 to %d letters, digits, '_', "
		                   "'-', '+' and '.', the first of them no '.'; it is no path",
		                   name, ORIGIN_LIBRARY_MAX);
	status = worker->library_dir
	                 ? read_library(worker, name, &module)
	                 : modules_add_library(worker->core->modules, name, NULL, -1, &module);
	if (status != SIMPLER_OK)
		return error_context("opening library '%s'", name);
	return give(worker, module, out);
}

/* --- registering --- */

/* What nodes do not take is not registered. */
static simpler_status ship(simpler_worker *worker, uint64_t handle, simpler_kind kind)
{
	struct callables *callables = worker->core->callables;
	struct exec_callable *callable;
	simpler_status status = callables_find(callables, handle, kind, &callable);

	if (status != SIMPLER_OK)
		return status;
	status = registration_ship(worker->registration, callable);
	if (status != SIMPLER_OK)
		callables_drop(callables, handle);
	callables_release(callables, callable);
	return status;
}

simpler_status worker_register(simpler_worker *worker, const struct callable_spec *spec,
                               uint64_t *handle)
{
	uint64_t added;
	simpler_status status = callables_add(worker->core->callables, spec, NULL, &added);

	if (status == SIMPLER_OK && worker->state == WORKER_READY)
		status = ship(worker, added, spec->kind);
	if (status == SIMPLER_OK)
		*handle = added;
	return status;
}

simpler_status worker_ship_all(simpler_worker *worker)
{
	struct callables *callables = worker->core->callables;
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < CALLABLES_MAX && status == SIMPLER_OK; i++) {
		struct exec_callable *callable = callables_at(callables, i);

		if (!callable)
			continue;
		status = registration_ship(worker->registration, callable);
		callables_release(callables, callable);
	}
	return status;
}

static simpler_status take_handle(simpler_module *module, struct callable_spec *spec, uint64_t *out)
{
	if (!module || !out)
		return error_raise(SIMPLER_EINVAL,
		                   "a module and a place for the handle are needed, "
		                   "not NULL");
	spec->module = module->module;
	return worker_register(module->worker, spec, out);
}

simpler_status simpler_module_orch_fn_with(simpler_module *module, const char *name,
                                           simpler_bytes state,
                                           const simpler_callable_options *options,
                                           simpler_orch_fn *out)
{
	struct callable_spec spec = { .name = name, .kind = SIMPLER_KIND_ORCH, .state = state };

	if (options && options->struct_size != sizeof(*options))
		return error_raise(SIMPLER_EINVAL,
		                   "callable options have size %zu instead of %zu; begin them with "
		                   "SIMPLER_CALLABLE_OPTIONS_INIT",
		                   options->struct_size, sizeof(*options));
	spec.idempotent = options && options->idempotent;
	return take_handle(module, &spec, out ? &out->id : NULL);
}

simpler_status simpler_module_orch_fn(simpler_module *module, const char *name, simpler_bytes state,
                                      simpler_orch_fn *out)
{
	return simpler_module_orch_fn_with(module, name, state, NULL, out);
}

simpler_status simpler_module_sub(simpler_module *module, const char *name, simpler_bytes state,
                                  simpler_sub *out)
{
	struct callable_spec spec = { .name = name, .kind = SIMPLER_KIND_SUB, .state = state };

	return take_handle(module, &spec, out ? &out->id : NULL);
}

simpler_status simpler_module_chip(simpler_module *module, const char *name, simpler_bytes state,
                                   simpler_chip *out)
{
	struct callable_spec spec = { .name = name, .kind = SIMPLER_KIND_CHIP, .state = state };

	return take_handle(module, &spec, out ? &out->id : NULL);
}

/* --- unregistering --- */

static simpler_status give_back(simpler_worker *worker, uint64_t handle, simpler_kind kind,
                                uint64_t timeout_ms)
{
	int64_t deadline = clock_after_ms(timeout_ms);
	struct callables *callables;
	simpler_status status;
	bool last;

	if (!worker)
		return error_raise(SIMPLER_EINVAL, "the worker is NULL; create it first");
	callables = worker->core->callables;
	status = callables_retire(callables, handle, kind, &last);
	if (status != SIMPLER_OK || !last || callables_await_forgotten(callables, handle, deadline))
		return status;
	return error_raise(SIMPLER_EDEADLINE,
	                   "the %s is unregistered, and is not gone after %llu ms: tasks that name "
	                   "it have not ended, or a node has not answered; it goes when they have",
	                   simpler_kind_name(kind), (unsigned long long)timeout_ms);
}

simpler_status simpler_unregister_orch_fn(simpler_worker *worker, simpler_orch_fn handle,
                                          uint64_t timeout_ms)
{
	return give_back(worker, handle.id, SIMPLER_KIND_ORCH, timeout_ms);
}

simpler_status simpler_unregister_sub(simpler_worker *worker, simpler_sub handle,
                                      uint64_t timeout_ms)
{
	return give_back(worker, handle.id, SIMPLER_KIND_SUB, timeout_ms);
}

simpler_status simpler_unregister_chip(simpler_worker *worker, simpler_chip handle,
                                       uint64_t timeout_ms)
{
	return give_back(worker, handle.id, SIMPLER_KIND_CHIP, timeout_ms);
}
