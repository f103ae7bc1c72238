#include "worker/hosted.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/local.h"
#include "ipc/host_program.h"
#include "ipc/judge.h"
#include "ipc/loader.h"

#define PATH_BYTES 4096

struct hosted {
	/* Fixed: */
	pid_t pid;
	struct worker_core *core;
	struct local_group *group;
	struct loader *loader;
	uint32_t above_count; /* segments that tasks' tensors may lie in */
	simpler_status (*fetch)(void *context, uint64_t callable);
	void (*catch_up)(void *context);
	void *context;

	pthread_mutex_t lock;  /* guards `tasks` and what is in them */
	pthread_cond_t let_go; /* `stoppers` of a task became 0 */
	struct hosted_task *tasks;
};

/* --- children --- */

static simpler_status add_child(struct hosted *hosted, const struct local_child_options *options)
{
	struct exec_child *child;
	uint32_t index;
	simpler_status status = local_group_add(hosted->group, options, &child);

	return status == SIMPLER_OK ? core_add_child(hosted->core, child, &index) : status;
}

static simpler_status add_processors(struct hosted *hosted, const struct tree_node *self)
{
	struct local_child_options sub = { .kind = SIMPLER_KIND_SUB };
	struct local_child_options chip = { .kind = SIMPLER_KIND_CHIP, .device = self->device };
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < self->sub_workers && status == SIMPLER_OK; i++)
		status = add_child(hosted, &sub);
	for (uint32_t i = 0; i < self->chips && status == SIMPLER_OK; i++) {
		chip.device_index = i;
		status = add_child(hosted, &chip);
	}
	return status;
}

static simpler_status add_workers(struct hosted *hosted, const struct tree *tree)
{
	struct tree *below = malloc(sizeof(*below));
	struct local_child_options worker = { .kind = SIMPLER_KIND_ORCH, .tree = below };
	const struct tree_node *self = &tree->nodes[0];
	simpler_status status = SIMPLER_OK;

	if (!below)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tree of workers");
	for (uint32_t i = 0; i < self->child_count && status == SIMPLER_OK; i++) {
		tree_subtree(tree, self->first_child + i, below);
		status = add_child(hosted, &worker);
	}
	free(below);
	return status;
}

static void share(struct local_options *options, int fd, const struct memory_segment *segment)
{
	struct spawn_segment *shared = &options->segments[options->segment_count++];

	shared->fd = fd;
	shared->id = segment->id;
	shared->bytes = segment->bytes;
}

static simpler_status make_group(struct hosted *hosted, const struct hosted_options *options)
{
	const struct worker_core *core = hosted->core;
	char own[PATH_BYTES];
	struct local_options local = {
		.host_program = options->host_program ? options->host_program : own,
		.lost = options->lost,
		.context = options->context,
	};
	simpler_status status = host_program_again(own, sizeof(own));

	for (uint32_t i = 0; i < options->above_count; i++)
		share(&local, options->above_fds[i], &options->above[i]);
	share(&local, heap_fd(core->heap), &core->segments[core->segment_count - 1]);
	if (status == SIMPLER_OK)
		status = local_group_create(&local, &hosted->group);
	if (status == SIMPLER_OK)
		status = add_processors(hosted, &options->tree->nodes[0]);
	if (status == SIMPLER_OK)
		status = add_workers(hosted, options->tree);
	if (status == SIMPLER_OK)
		status = local_group_start(hosted->group);
	return status;
}

/* --- birth --- */

static simpler_status make_core(struct hosted *hosted, const struct hosted_options *options)
{
	const struct tree_node *self = &options->tree->nodes[0];
	struct core_options core = {
		.level = self->level,
		.max_tasks = self->max_tasks,
		.heap_bytes = self->heap_bytes,
		.grace_ms = self->grace_ms,
		.above_count = options->above_count,
	};

	memcpy(core.above, options->above, sizeof(core.above));
	return core_create(&core, &hosted->core);
}

static simpler_status make_parts(struct hosted *hosted, const struct hosted_options *options)
{
	simpler_status status = make_core(hosted, options);

	if (status != SIMPLER_OK)
		return status;
	hosted->loader = loader_create();
	if (!hosted->loader)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a loader");
	return make_group(hosted, options);
}

static void destroy(struct hosted *hosted)
{
	if (hosted->core)
		core_close_children(hosted->core);
	if (hosted->group)
		local_group_stop(hosted->group);
	if (hosted->core)
		core_destroy(hosted->core);
	local_group_destroy(hosted->group);
	if (hosted->loader)
		loader_destroy(hosted->loader);
	(void)pthread_cond_destroy(&hosted->let_go);
	(void)pthread_mutex_destroy(&hosted->lock);
	free(hosted);
}

simpler_status hosted_create(const struct hosted_options *options, struct hosted **out)
{
	struct hosted *hosted = calloc(1, sizeof(*hosted));
	struct error why;

	if (!hosted)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a worker");
	hosted->pid = getpid();
	hosted->above_count = options->above_count;
	hosted->fetch = options->fetch;
	hosted->catch_up = options->catch_up;
	hosted->context = options->context;
	(void)pthread_mutex_init(&hosted->lock, NULL);
	(void)pthread_cond_init(&hosted->let_go, NULL);
	if (make_parts(hosted, options) != SIMPLER_OK) {
		error_save(&why); /* which releasing things must not overwrite */
		destroy(hosted);
		return error_restore(&why);
	}
	hosted->core->progress = local_progress(hosted->group);
	if (options->crash)
		crash_watch(options->crash, hosted->loader);
	*out = hosted;
	return SIMPLER_OK;
}

void hosted_stop_children(struct hosted *hosted)
{
	local_group_stop(hosted->group);
}

/* --- callables --- */

simpler_status hosted_take_segment(struct hosted *hosted, const struct record_segment *segment,
                                   int fd)
{
	simpler_status status;

	if (segment->bytes == 0) {
		status = segments_take(&hosted->core->later, segment, fd);
		local_group_unshare(hosted->group, segment->id);
		return status;
	}
	/* For tasks here last: once one finds it, what that submits may need it below. */
	status = local_group_share(hosted->group, segment, fd);
	if (status != SIMPLER_OK)
		return status;
	status = segments_take(&hosted->core->later, segment, fd);
	if (status != SIMPLER_OK)
		local_group_unshare(hosted->group, segment->id);
	return status;
}

simpler_status hosted_install(struct hosted *hosted, const struct record_install *install,
                              int module_fd)
{
	return loader_install(hosted->loader, install, module_fd);
}

void hosted_forget(struct hosted *hosted, uint64_t callable)
{
	loader_forget(hosted->loader, callable);
}

bool hosted_has(const struct hosted *hosted, uint64_t callable)
{
	return loader_find(hosted->loader, callable) != NULL;
}

static simpler_status find_callable(struct hosted *hosted, uint64_t key,
                                    const struct loaded_callable **out)
{
	simpler_status status = SIMPLER_OK;

	*out = loader_find(hosted->loader, key);
	if (!*out && hosted->fetch) {
		status = hosted->fetch(hosted->context, key);
		*out = loader_find(hosted->loader, key);
	}
	if (*out)
		return SIMPLER_OK;
	return status != SIMPLER_OK
	               ? status
	               : error_raise(SIMPLER_ENOTFOUND, "callable %llu was never installed here",
	                             (unsigned long long)key);
}

/* --- tasks --- */

void hosted_expect(struct hosted *hosted, struct hosted_task *task, uint64_t token)
{
	*task = (struct hosted_task){ .token = token };
	pthread_mutex_lock(&hosted->lock);
	task->next = hosted->tasks;
	if (task->next)
		task->next->previous = task;
	hosted->tasks = task;
	pthread_mutex_unlock(&hosted->lock);
}

static void forget(struct hosted *hosted, struct hosted_task *task)
{
	pthread_mutex_lock(&hosted->lock);
	if (task->next)
		task->next->previous = task->previous;
	if (task->previous)
		task->previous->next = task->next;
	else
		hosted->tasks = task->next;
	while (task->stoppers > 0)
		(void)pthread_cond_wait(&hosted->let_go, &hosted->lock);
	pthread_mutex_unlock(&hosted->lock);
}

/* Under the lock. */
static struct hosted_task *find_task(struct hosted *hosted, uint64_t token)
{
	struct hosted_task *task = hosted->tasks;

	while (task && task->token != token)
		task = task->next;
	return task;
}

void hosted_stop(struct hosted *hosted, uint64_t token)
{
	struct hosted_task *task;
	struct run *run = NULL;

	pthread_mutex_lock(&hosted->lock);
	task = find_task(hosted, token);
	if (task) {
		task->stopped = true;
		run = task->run;
		task->stoppers += run != NULL;
	}
	pthread_mutex_unlock(&hosted->lock);
	if (!run)
		return;
	/* Without the lock, as it calls into children. */
	run_stop(run, SIMPLER_ECANCELLED);
	pthread_mutex_lock(&hosted->lock);
	if (--task->stoppers == 0)
		(void)pthread_cond_broadcast(&hosted->let_go);
	pthread_mutex_unlock(&hosted->lock);
}

bool hosted_is_stopped(struct hosted *hosted, uint64_t token)
{
	const struct hosted_task *task;
	bool stopped;

	pthread_mutex_lock(&hosted->lock);
	task = find_task(hosted, token);
	stopped = task && task->stopped;
	pthread_mutex_unlock(&hosted->lock);
	return stopped;
}

/* From here on it is the run that is stopped; a stop that came before goes to it now. */
static void publish(struct hosted *hosted, struct hosted_task *task, struct run *run)
{
	bool stopped;

	pthread_mutex_lock(&hosted->lock);
	task->run = run;
	stopped = task->stopped;
	pthread_mutex_unlock(&hosted->lock);
	if (stopped)
		run_stop(run, SIMPLER_ECANCELLED);
}

/* --- a run --- */

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

/* What this thread runs, for run_judged(). */
static _Thread_local const struct hosted *running_here;
static _Thread_local const struct loaded_callable *running;

/* Stands in for the callable. */
static simpler_status run_judged(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct loaded_callable *callable = running;
	simpler_status returned = callable->run.orch(orch, args, config, state);

	/* It forked and returned twice: this is the copy, and not a worker. */
	if (getpid() != running_here->pid)
		_exit(EXIT_SUCCESS);
	return judge_returned(callable->name, returned);
}

/* NULL for a function of the program. */
static simpler_status find_module(struct hosted *hosted, const struct loaded_callable *callable,
                                  struct module **out)
{
	struct digest digest;

	*out = NULL;
	if (callable->module_fd < 0)
		return SIMPLER_OK;
	memcpy(digest.bytes, callable->module_digest, sizeof(digest.bytes));
	return modules_add(hosted->core->modules, &digest, callable->module_fd, NULL, out);
}

static simpler_status run_call(struct hosted *hosted, struct hosted_task *task,
                               const struct run_call *call)
{
	struct run *run;
	simpler_status status = run_create(hosted->core, call, &run);

	if (status != SIMPLER_OK) {
		forget(hosted, task);
		return status;
	}
	publish(hosted, task, run);
	status = run_execute(run);
	forget(hosted, task);
	run_destroy(run);
	return status;
}

static simpler_status take_args(struct hosted *hosted, const struct record_task *record,
                                struct simpler_args *out)
{
	struct worker_core *core = hosted->core;
	struct memory_segment segments[SIMPLER_MAX_TENSORS];
	uint32_t count;

	if (!segments_of_task(&core->later, core->segments, hosted->above_count, record, segments,
	                      &count) &&
	    hosted->catch_up) {
		hosted->catch_up(hosted->context);
		(void)segments_of_task(&core->later, core->segments, hosted->above_count, record,
		                       segments, &count);
	}
	return args_from_record(out, record, segments, count);
}

static simpler_status run_record(struct hosted *hosted, struct hosted_task *task,
                                 const struct record_task *record)
{
	simpler_config config = config_from_record(&record->config);
	const struct loaded_callable *callable;
	struct simpler_args args;
	struct module *module;
	simpler_status status = find_callable(hosted, record->callable, &callable);

	if (status == SIMPLER_OK && callable->kind != SIMPLER_KIND_ORCH)
		status = error_raise(SIMPLER_EKIND, "'%s' is a %s, and a worker runs %ss",
		                     callable->name, simpler_kind_name(callable->kind),
		                     simpler_kind_name(SIMPLER_KIND_ORCH));
	if (status == SIMPLER_OK)
		status = find_module(hosted, callable, &module);
	if (status == SIMPLER_OK)
		status = take_args(hosted, record, &args);
	if (status != SIMPLER_OK) {
		forget(hosted, task);
		return status;
	}
	running_here = hosted;
	running = callable;
	return run_call(hosted, task,
	                &(struct run_call){ .fn = run_judged,
	                                    .name = callable->name,
	                                    .module = module,
	                                    .args = &args,
	                                    .config = &config,
	                                    .state = callable->state,
	                                    .timeout_ms = SIMPLER_FOREVER });
}

void hosted_run(struct hosted *hosted, struct hosted_task *task, const struct record_task *record,
                struct record_outcome *out)
{
	record_outcome_fill(out, record->token, run_record(hosted, task, record));
}

void hosted_refuse(struct hosted *hosted, struct hosted_task *task, struct record_outcome *out)
{
	forget(hosted, task);
	record_outcome_fill(out, task->token,
	                    error_raise(SIMPLER_ECANCELLED, "it was stopped before it began"));
}

void hosted_vitals(struct hosted *hosted, struct vitals *out)
{
	local_group_vitals(hosted->group, out);
	out->subs.queued += core_queued(hosted->core, SIMPLER_KIND_SUB);
	out->chips.queued += core_queued(hosted->core, SIMPLER_KIND_CHIP);
}
