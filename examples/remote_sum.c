/*
 * The whole path, once: parent -> node's orchestration function -> node's sub worker -> parent.
 *
 *     remote_sum --remotes HOST:PORT[,HOST:PORT...] [--module PATH]
 *
 * Two tasks add 2 and 5 to one int64. Both write it, so the graph runs one after the other, even on
 * different nodes; what the second sends to its node is what the first brought back.
 */
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <simpler/simpler.h>

struct work {
	simpler_orch_fn accumulate;
	int64_t *total;
};

/* Level 4: one task for each number. */
static simpler_status sum_up(simpler_orch *orch, const simpler_args *args,
                             const simpler_config *config, simpler_bytes state)
{
	static const uint64_t numbers[] = { 2, 5 };
	const struct work *work = state.data;
	simpler_args *task_args = simpler_args_create();
	simpler_status status = SIMPLER_OK;
	simpler_tensor total;

	(void)args;
	(void)config;
	(void)simpler_tensor_init_1d(&total, work->total, SIMPLER_INT64, 1);
	for (size_t i = 0; i < 2 && status == SIMPLER_OK; i++) {
		simpler_args_reset(task_args);
		(void)simpler_args_add_tensor(task_args, &total, SIMPLER_INOUT, SIMPLER_INLINE);
		(void)simpler_args_add_scalar(task_args, numbers[i]);
		simpler_log(SIMPLER_LOG_INFO, "parent: submits accumulate(%llu)",
		            (unsigned long long)numbers[i]);
		status = simpler_submit_next_level(orch, work->accumulate, task_args, NULL, NULL);
	}
	simpler_args_destroy(task_args);
	return status;
}

static simpler_status add_remotes(simpler_worker *worker, char *list)
{
	char *rest = NULL;

	for (char *each = strtok_r(list, ",", &rest); each; each = strtok_r(NULL, ",", &rest)) {
		if (simpler_worker_add_remote(worker, each, NULL) != SIMPLER_OK)
			return simpler_last_status();
	}
	return SIMPLER_OK;
}

static simpler_status run(simpler_worker *worker, char *remotes, const char *module_path)
{
	int64_t total = 0;
	struct work work = { .total = &total };
	simpler_bytes state = { &work, sizeof(work) };
	simpler_module *module;

	if (add_remotes(worker, remotes) != SIMPLER_OK ||
	    simpler_module_load(worker, module_path, &module) != SIMPLER_OK ||
	    simpler_module_orch_fn(module, "accumulate", simpler_no_state(), &work.accumulate) !=
	            SIMPLER_OK ||
	    simpler_worker_init(worker) != SIMPLER_OK ||
	    simpler_run(worker, sum_up, NULL, NULL, state) != SIMPLER_OK)
		return simpler_last_status();
	simpler_log(SIMPLER_LOG_INFO, "parent: the run is done, its tensor holds %lld",
	            (long long)total);
	printf("remote result=%lld\n", (long long)total);
	return SIMPLER_OK;
}

/* sum_module.so beside this program. */
static const char *default_module(char *program)
{
	static char path[4096];

	(void)snprintf(path, sizeof(path), "%s/sum_module.so", dirname(program));
	return path;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "remotes", required_argument, NULL, 'r' },
		                                 { "module", required_argument, NULL, 'm' },
		                                 { NULL, 0, NULL, 0 } };
	char *remotes = NULL;
	const char *module_path = NULL;
	simpler_worker *worker;
	simpler_status status;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			remotes = optarg;
		else if (option == 'm')
			module_path = optarg;
		else
			return 2;
	}
	if (!remotes) {
		fprintf(stderr, "usage: remote_sum --remotes HOST:PORT[,HOST:PORT...] "
		                "[--module PATH]\n");
		return 2;
	}
	simpler_log_set_level(SIMPLER_LOG_INFO);
	status = simpler_worker_create(NULL, &worker);
	if (status == SIMPLER_OK) {
		status = run(worker, remotes, module_path ? module_path : default_module(argv[0]));
		if (status != SIMPLER_OK)
			fprintf(stderr, "%s\n", simpler_last_error());
		simpler_worker_close(worker);
	} else {
		fprintf(stderr, "%s\n", simpler_last_error());
	}
	return status == SIMPLER_OK ? 0 : 1;
}
