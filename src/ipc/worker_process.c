/*
 * A worker process has one thread, so that user code may do what it likes with processes and
 * threads of its own. It sleeps on its mailbox; what comes over the control socket is read when a
 * task names an unknown callable, and now and then, so that a parent that sends many installs does
 * not stay blocked on a full socket, and a closed one is noticed.
 */
#include "ipc/worker_process.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/loader.h"
#include "os/descriptor.h"

#define LOOK_AT_CONTROL_MS 1000

/* An install that failed is told to each task that names it. */
struct failed_install {
	uint64_t key;
	struct error error;
	struct failed_install *next;
};

struct server {
	pid_t pid;
	const struct worker_process *self;
	struct mailbox *box;
	struct loader *loader;
	struct failed_install *failed; /* a list: they are few, or the parent is broken */
	struct record_task task;
	struct simpler_args args;
	struct record_outcome outcome;
	uint8_t payload[MAILBOX_PAYLOAD_BYTES];
	uint8_t install[RECORD_INSTALL_MAX];
};

/* --- callables --- */

static void note_failure(struct server *server, uint64_t key)
{
	struct failed_install *failed = malloc(sizeof(*failed));

	if (!failed) {
		simpler_log(SIMPLER_LOG_ERROR, "out of memory: %s", simpler_last_error());
		return;
	}
	failed->key = key;
	error_save(&failed->error);
	failed->next = server->failed;
	server->failed = failed;
}

/* Read one install. SIMPLER_EUNAVAILABLE when the parent has closed the socket. */
static simpler_status read_install(struct server *server)
{
	struct record_install install;
	int module_fd;
	simpler_status status =
		install_receive(server->self->control, server->install, &install, &module_fd);

	if (status)
		return status;
	/* The same key again is a repetition, not a failure of the callable that is there. */
	if (loader_install(server->loader, &install, module_fd) &&
	    simpler_last_status() != SIMPLER_EEXIST)
		note_failure(server, install.callable);
	return SIMPLER_OK;
}

/* Read what is there now, without waiting for more. A socket that cannot be read at all was closed
 * here, by user code that closes what it did not open: this process is of no use any more, and
 * another takes its place. */
static simpler_status read_installs(struct server *server)
{
	simpler_status status = SIMPLER_OK;

	while (!status && descriptor_wait_readable(server->self->control, 0)) {
		status = read_install(server);
		if (status == SIMPLER_ESYSTEM) {
			simpler_log(SIMPLER_LOG_ERROR, "control: %s", simpler_last_error());
			exit(EXIT_FAILURE);
		}
		if (status && status != SIMPLER_EUNAVAILABLE) {
			simpler_log(SIMPLER_LOG_ERROR, "control: %s", simpler_last_error());
			status = SIMPLER_OK;
		}
	}
	return status;
}

/* Fails with the error of the install that failed, or because there was none. */
static simpler_status explain_missing(const struct server *server, uint64_t key)
{
	const struct failed_install *failed = server->failed;

	while (failed && failed->key != key)
		failed = failed->next;
	if (failed)
		return error_restore(&failed->error);
	return error_raise(SIMPLER_ENOTFOUND, "callable %" PRIu64 " was never installed here", key);
}

/* NULL if there is none. The parent sent the install before it posted the task, so by now it is
 * there to be read. */
static const struct loaded_callable *find_callable(struct server *server, uint64_t key)
{
	const struct loaded_callable *callable = loader_find(server->loader, key);

	if (callable)
		return callable;
	(void)read_installs(server);
	return loader_find(server->loader, key);
}

/* --- running a task --- */

/* Whether a callable may return it: see simpler/status.h. */
static bool is_status(simpler_status status)
{
	int value = (int)status;

	return (value >= SIMPLER_OK && value <= SIMPLER_EINTERNAL) || value >= SIMPLER_USER_STATUS;
}

/* Make what a callable returned this thread's error, with the message that it left, if any. */
static simpler_status judge(const struct loaded_callable *callable, simpler_status returned)
{
	bool explained = simpler_last_status() == returned && simpler_last_error_step(0);
	char words[ERROR_STEP_BYTES / 2] = "";

	if (is_status(returned))
		return explained ? returned
		                 : error_raise(returned, "'%s' returned %d and gave no message",
		                               callable->name, (int)returned);
	if (explained)
		(void)snprintf(words, sizeof(words), ": %s", simpler_last_error_step(0));
	return error_raise(SIMPLER_EUSER, "'%s' returned %d, which is no status%s", callable->name,
	                   (int)returned, words);
}

static simpler_status call(struct server *server, const struct loaded_callable *callable)
{
	simpler_status returned;

	if (callable->kind != SIMPLER_KIND_SUB)
		return error_raise(SIMPLER_EKIND,
		                   "a sub worker runs only a %s, '%s' was installed as %s",
		                   simpler_kind_name(SIMPLER_KIND_SUB), callable->name,
		                   simpler_kind_name(callable->kind));
	/* What an earlier task left must not explain this one. */
	error_clear();
	returned = callable->run.sub(&server->args, callable->state);
	/* It forked and returned twice: this is the copy, and not the worker. */
	if (getpid() != server->pid)
		_exit(EXIT_SUCCESS);
	return returned == SIMPLER_OK ? SIMPLER_OK : judge(callable, returned);
}

/* Copied before it is looked at: the payload is in shared memory. */
static simpler_status read_task(struct server *server)
{
	uint32_t size = atomic_load_explicit(&server->box->payload_size, memory_order_relaxed);

	server->task.token = 0;
	if (size > sizeof(server->payload))
		return error_raise(SIMPLER_EPROTOCOL, "a task of %" PRIu32 " bytes is over %zu",
		                   size, sizeof(server->payload));
	memcpy(server->payload, server->box->payload, size);
	return record_task_decode(server->payload, size, &server->task);
}

static simpler_status run_task(struct server *server)
{
	const struct worker_process *self = server->self;
	const struct loaded_callable *callable;
	simpler_status status = read_task(server);

	if (status)
		return status;
	callable = find_callable(server, server->task.callable);
	if (!callable)
		return explain_missing(server, server->task.callable);
	status =
		args_from_record(&server->args, &server->task, self->segments, self->segment_count);
	return status ? status : call(server, callable);
}

static void serve(struct server *server, uint32_t generation)
{
	simpler_status status = run_task(server);

	record_outcome_fill(&server->outcome, server->task.token, status);
	mailbox_finish(server->box, generation, &server->outcome);
	doorbell_pair_ring(&server->self->shared->finished);
}

/* Until told to stop or the parent has closed the control socket. */
static void serve_all(struct server *server)
{
	struct spin_budget spin = { 0 };

	for (;;) {
		uint32_t ticket = doorbell_ticket(&server->box->to_worker), generation;

		if (mailbox_take(server->box, &generation)) {
			serve(server, generation);
			continue;
		}
		if (atomic_load(&server->box->stop))
			return;
		if (!doorbell_wait(&server->box->to_worker, ticket, &spin,
		                   clock_after_ms(LOOK_AT_CONTROL_MS)) &&
		    read_installs(server) != SIMPLER_OK)
			return;
	}
}

static void forget_failures(struct server *server)
{
	struct failed_install *next;

	for (struct failed_install *each = server->failed; each; each = next) {
		next = each->next;
		free(each);
	}
}

int worker_process_main(const struct worker_process *self)
{
	struct server *server = calloc(1, sizeof(*server));

	if (server)
		server->loader = loader_create();
	if (!server || !server->loader) {
		simpler_log(SIMPLER_LOG_ERROR, "out of memory for a worker");
		free(server);
		return EXIT_FAILURE;
	}
	server->self = self;
	server->pid = getpid();
	server->box = &self->shared->boxes[self->index];
	serve_all(server);
	forget_failures(server);
	loader_destroy(server->loader);
	free(server);
	return EXIT_SUCCESS;
}
