/*
 * A worker process has one thread, so that user code may do what it likes with processes and
 * threads of its own. It sleeps on its mailbox; what comes over the control socket is read when a
 * task names an unknown callable, and now and then, so that a parent that sends many installs is
 * not kept waiting by a full socket, and a closed one is noticed.
 *
 * A chip's process differs in what runs a task, and in the device that it has opened. If that
 * failed it serves all the same, and each task fails with the reason: a process that ended would be
 * started again and again.
 */
#include "ipc/worker_process.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "device/chip.h"
#include "ipc/failed_installs.h"
#include "ipc/judge.h"
#include "ipc/loader.h"
#include "ipc/segments.h"
#include "os/descriptor.h"
#include "os/process.h"

#define LOOK_AT_CONTROL_MS 1000

struct server {
	const volatile uint8_t *is_original; /* 0 in a copy of this process */
	const struct worker_process *self;
	struct mailbox *box;
	uint32_t next_slot; /* to look at for a task */
	struct loader *loader;
	struct failed_installs failed;
	struct segments segments; /* that came later */
	struct chip *chip;        /* a chip's; NULL if it could not be opened */
	struct error chip_error;  /* then */
	struct record_task task;
	struct simpler_args args;
	struct record_outcome outcome;
	uint8_t install[RECORD_INSTALL_MAX];
};

/* --- callables --- */

static void take_install(struct server *server, const struct record_install *install, int module_fd)
{
	/* The same key again is a repetition, not a failure of the callable that is there. */
	if (loader_install(server->loader, install, module_fd) != SIMPLER_OK &&
	    simpler_last_status() != SIMPLER_EEXIST)
		failed_installs_note(&server->failed, install->callable);
}

/* Between tasks, or before the callable of one is looked for. */
static void forget(struct server *server, uint64_t key)
{
	loader_forget(server->loader, key);
	failed_installs_forget(&server->failed, key);
}

/* Between tasks, or before the arguments of one are located: what is let go of is not in use. */
static void take_segment(struct server *server, const struct record_segment *segment, int fd)
{
	if (segments_take(&server->segments, segment, fd) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
	if (fd >= 0)
		(void)close(fd);
}

/* Read one record. SIMPLER_EUNAVAILABLE when the parent has closed the socket. */
static simpler_status read_record(struct server *server)
{
	struct control_message message;
	simpler_status status = control_receive(server->self->control, server->install, &message);

	if (status)
		return status;
	if (message.kind == RECORD_SEGMENT)
		take_segment(server, &message.segment, message.fd);
	else if (message.kind == RECORD_FORGET)
		forget(server, message.forget.callable);
	else
		take_install(server, &message.install, message.fd);
	return SIMPLER_OK;
}

/* Read what is there now, without waiting for more. A socket that cannot be read at all was closed
 * here, by user code that closes what it did not open: this process is of no use any more, and
 * another takes its place. */
static simpler_status read_control(struct server *server)
{
	simpler_status status = SIMPLER_OK;

	while (!status && descriptor_wait_readable(server->self->control, 0)) {
		status = read_record(server);
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

/* NULL if there is none. The parent sent the install before it posted the task, so by now it is
 * there to be read. */
static const struct loaded_callable *find_callable(struct server *server, uint64_t key)
{
	const struct loaded_callable *callable = loader_find(server->loader, key);

	if (callable)
		return callable;
	(void)read_control(server);
	return loader_find(server->loader, key);
}

/* --- running a task --- */

static simpler_config config_from_record(const struct record_config *record)
{
	simpler_config config = SIMPLER_CONFIG_INIT;

	config.block_dim = record->block_dim;
	config.aicpu_thread_num = record->aicpu_thread_num;
	config.enable_l2_swimlane = record->enable_l2_swimlane;
	config.enable_dump_tensor = record->enable_dump_tensor;
	config.enable_pmu = record->enable_pmu;
	config.output_prefix = record->output_prefix[0] ? record->output_prefix : NULL;
	return config;
}

/* Returns what the callable did. */
static simpler_status run_on_chip(struct server *server, const struct loaded_callable *callable)
{
	simpler_config config = config_from_record(&server->task.config);

	if (!server->chip)
		return error_restore(&server->chip_error);
	return chip_run(server->chip, callable->name, callable->run.chip, callable->state, &config,
	                &server->args);
}

static simpler_status call(struct server *server, const struct loaded_callable *callable)
{
	bool is_chip = server->self->role == SPAWN_CHIP;
	simpler_kind runs = is_chip ? SIMPLER_KIND_CHIP : SIMPLER_KIND_SUB;
	simpler_status returned;

	if (callable->kind != runs)
		return error_raise(SIMPLER_EKIND, "a %s runs only a %s, '%s' was installed as %s",
		                   spawn_role_name(server->self->role), simpler_kind_name(runs),
		                   callable->name, simpler_kind_name(callable->kind));
	/* What an earlier task left must not explain this one. */
	error_clear();
	returned = is_chip ? run_on_chip(server, callable)
	                   : callable->run.sub(&server->args, callable->state);
	/* It forked and returned twice: this is the copy, and not the worker. */
	if (!*server->is_original)
		_exit(EXIT_SUCCESS);
	return returned == SIMPLER_OK ? SIMPLER_OK : judge_returned(callable->name, returned);
}

/* A segment that the task names was sent before the task was posted, as callables are. */
static simpler_status take_args(struct server *server)
{
	const struct worker_process *self = server->self;
	struct memory_segment segments[SIMPLER_MAX_TENSORS];
	uint32_t count;

	if (!segments_of_task(&server->segments, self->segments, self->segment_count, &server->task,
	                      segments, &count)) {
		(void)read_control(server);
		(void)segments_of_task(&server->segments, self->segments, self->segment_count,
		                       &server->task, segments, &count);
	}
	return args_from_record(&server->args, &server->task, segments, count);
}

static simpler_status run_task(struct server *server, uint32_t slot)
{
	const struct loaded_callable *callable;
	simpler_status status = mailbox_read(server->box, slot, &server->task);

	if (status)
		return status;
	if (mailbox_is_stopped(server->box, slot))
		return error_raise(SIMPLER_ECANCELLED, "it was stopped before it began");
	callable = find_callable(server, server->task.callable);
	if (!callable)
		return failed_installs_explain(&server->failed, server->task.callable);
	status = take_args(server);
	return status ? status : call(server, callable);
}

static void serve(struct server *server, uint32_t slot, uint32_t generation)
{
	simpler_status status;

	(void)stop_watch_process(&server->box->slots[slot].stop);
	status = run_task(server, slot);
	(void)stop_watch_process(NULL);
	record_outcome_fill(&server->outcome, server->task.token, status);
	mailbox_finish(server->box, slot, generation, &server->outcome);
	worker_process_tell(server->self);
}

/* Until the parent has closed the control socket. */
static void serve_all(struct server *server)
{
	struct spin_budget spin = { 0 };

	for (;;) {
		uint32_t ticket = mailbox_ticket(server->box), slot, generation;

		if (mailbox_take(server->box, &server->next_slot, &slot, &generation)) {
			serve(server, slot, generation);
			continue;
		}
		if (!mailbox_wait(server->box, ticket, &spin, clock_after_ms(LOOK_AT_CONTROL_MS)) &&
		    read_control(server) != SIMPLER_OK)
			return;
	}
}

/* Whether nobody has begun to collect. */
static bool is_untold(void *context)
{
	const struct worker_process *self = context;

	return atomic_load(&self->shared->outcomes[self->index / 64]) & UINT64_C(1)
	                                                                        << self->index % 64;
}

void worker_process_tell(const struct worker_process *self)
{
	uint64_t bit = UINT64_C(1) << self->index % 64;
	_Atomic uint64_t *word = &self->shared->outcomes[self->index / 64];

	/* Set already: whoever collects will clear it before it looks at the slots. */
	if (!(atomic_fetch_or(word, bit) & bit))
		doorbell_pair_wake(&self->shared->finished, is_untold, (void *)(uintptr_t)self);
}

/* --- the process --- */

static void open_chip(struct server *server)
{
	const struct worker_process *self = server->self;
	const char *cause;
	size_t size;

	if (chip_open(self->device, self->device_index, &server->chip) == SIMPLER_OK) {
		bulletin_publish(&self->area->device_error, "", 0);
		return;
	}
	server->chip = NULL;
	cause = simpler_last_error_step(0);
	size = strlen(cause);
	bulletin_publish(&self->area->device_error, cause,
	                 size < BULLETIN_BYTES ? size : BULLETIN_BYTES);
	(void)error_context("opening device %" PRIu32 " of '%s'", self->device_index, self->device);
	simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
	error_save(&server->chip_error);
}

static void release(struct server *server)
{
	failed_installs_release(&server->failed);
	loader_destroy(server->loader);
	segments_release(&server->segments);
	free(server);
}

static struct server *create(const struct worker_process *self)
{
	struct server *server = calloc(1, sizeof(*server));

	if (server) {
		server->loader = loader_create();
		segments_init(&server->segments);
	}
	if (!server || !server->loader) {
		simpler_log(SIMPLER_LOG_ERROR, "out of memory for a worker");
		free(server);
		return NULL;
	}
	if (process_mark_original(&server->is_original) != SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_ERROR, "%s", simpler_last_error());
		release(server);
		return NULL;
	}
	crash_watch(&self->area->crash, server->loader);
	server->self = self;
	server->box = &self->area->box;
	return server;
}

int worker_process_main(const struct worker_process *self)
{
	struct server *server = create(self);

	if (!server)
		return EXIT_FAILURE;
	serve_all(server);
	release(server);
	return EXIT_SUCCESS;
}

int chip_process_main(const struct worker_process *self)
{
	struct server *server = create(self);

	if (!server)
		return EXIT_FAILURE;
	open_chip(server);
	serve_all(server);
	if (server->chip)
		chip_close(server->chip);
	release(server);
	return EXIT_SUCCESS;
}
