/*
 * simpler-bench CASE...: a figure and its bare floor, measured in the same run.
 *
 * Each case alternates between floor and figure for several rounds, since machines drift, and
 * prints a line a round and, last, "CASE ratio=R value=V floor=F unit=U" with medians.
 */
#include <getopt.h>
#include <libgen.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases.h"
#include "catalog/module_read.h"
#include "simpler/status.h"
#include "stats.h"
#include "worker/callables.h"

#define REMOTE  1u /* needs a daemon and the bare echo */
#define BY_NAME 2u /* is not among "all" */

static const struct bench_entry {
	const char *name, *what;
	bench_case *run;
	unsigned flags;
} cases[] = {
	{ "rpc_hop", "Heartbeat to the daemon; floor: bare gRPC unary echo", case_rpc_hop, REMOTE },
	{ "dispatch", "remote no-op, one outstanding; floor: bare gRPC unary echo", case_dispatch,
	  REMOTE },
	{ "dispatch_sub", "remote no-op with one sub task; floor: bare gRPC unary echo",
	  case_dispatch_sub, REMOTE },
	{ "dispatch_many",
	  "remote no-ops a second, 64 outstanding; floor: bare echoes, 64 outstanding",
	  case_dispatch_many, REMOTE },
	{ "lane_unary", "remote no-op by a call each; floor: bare gRPC stream echo", case_lane,
	  REMOTE },
	{ "lane_unary_64", "the same a second, 64 outstanding", case_lane_64, REMOTE },
	{ "lane_unary_1000", "the same a second, 1,000 outstanding", case_lane_1000, REMOTE },
	{ "lane_stream", "remote no-op by one stream; floor: bare gRPC stream echo", case_lane,
	  REMOTE },
	{ "lane_stream_64", "the same a second, 64 outstanding", case_lane_64, REMOTE },
	{ "lane_stream_1000", "the same a second, 1,000 outstanding", case_lane_1000, REMOTE },
	{ "lane_shm", "remote no-op by shared memory; floor: a blocking TCP ping-pong", case_lane,
	  REMOTE },
	{ "lane_shm_64", "the same a second, 64 outstanding", case_lane_64, REMOTE },
	{ "lane_shm_1000", "the same a second, 1,000 outstanding", case_lane_1000, REMOTE },
	{ "lane_fabric", "remote no-op by a fabric; floor: a bare libfabric message ping-pong",
	  case_lane, REMOTE },
	{ "lane_fabric_64", "the same a second, 64 outstanding", case_lane_64, REMOTE },
	{ "lane_fabric_1000", "the same a second, 1,000 outstanding", case_lane_1000, REMOTE },
	{ "floors", "the floors of the lanes alone", case_floors, BY_NAME },
	{ "peers", "a table of what others take beside this, by name only", case_peers,
	  REMOTE | BY_NAME },
	{ "scale_nodes", "what a remote no-op costs the parent, 8 nodes; floor: 1 node",
	  case_scale_nodes, REMOTE },
	{ "stream_push", "MiB a second to a node; floor: a bare gRPC stream of the same chunks",
	  case_stream_push, REMOTE },
	{ "stream_pull", "MiB a second from a node; floor: as for stream_push", case_stream_pull,
	  REMOTE },
	{ "fabric_write", "KiB a second to a node by a fabric; floor: a bare fi_writemsg()",
	  case_fabric_write, REMOTE },
	{ "fabric_read", "KiB a second from it; floor: a bare fi_readmsg()", case_fabric_read,
	  REMOTE },
	{ "shm_write", "MiB a second into memory shared with a node; floor: memcpy", case_shm_write,
	  REMOTE },
	{ "interference", "99th percentile of remote no-ops beside 64 MiB pushes; floor: alone",
	  case_interference, REMOTE },
	{ "tensor_task", "remote no-op with a tensor of 1 KiB to 256 MiB there; floor: without",
	  case_tensor_task, REMOTE },
	{ "staged_task", "remote no-op with a staged tensor; floor: a write, a no-op and a read",
	  case_staged_task, REMOTE },
	{ "submit", "a task with two tensors into the graph; floor: malloc and free", case_submit,
	  0 },
	{ "turn", "a task through graph and scheduler, ended at once; floor: malloc and free",
	  case_turn, 0 },
	{ "hop", "a task to an engine and back, no gRPC; floor: as for mailbox", case_hop, 0 },
	{ "hop_many", "each of 1,000 tasks under way to an engine; floor: as for mailbox",
	  case_hop_many, 0 },
	{ "recovery", "from an engine's death to the next task; floor: executing /bin/true",
	  case_recovery, 0 },
	{ "mailbox", "a task to a sub worker and back; floor: a cache line there and back",
	  case_mailbox, 0 },
	{ "tasks_independent", "10,000 sub tasks, each of them; floor: as for mailbox",
	  case_tasks_independent, 0 },
	{ "tasks_chain", "10,000 sub tasks in a chain, each of them; floor: as for mailbox",
	  case_tasks_chain, 0 },
	{ "fan", "1 sub task, then 1,000, then 1, each of them; floor: as for mailbox", case_fan,
	  0 },
	{ "task_latency", "a run of one sub task; floor: as for mailbox", case_task_latency, 0 },
};

#define STIR_MS   10
#define STIR_MOST 64
/* For each iteration asked for. */
#define ROUND_TRIPS 20u

#define CASE_COUNT (sizeof(cases) / sizeof(cases[0]))

static int usage(FILE *out, int status)
{
	fprintf(out, "usage: simpler-bench [--rounds N] [--iterations N] CASE...|all\n\n");
	for (size_t i = 0; i < CASE_COUNT; i++)
		fprintf(out, "  %-18s %s\n", cases[i].name, cases[i].what);
	return status;
}

static void *keep_busy(void *until)
{
	while (clock_now() < *(const int64_t *)until)
		continue;
	return NULL;
}

void bench_stir(void)
{
	int64_t until = clock_after_ms(STIR_MS);
	pthread_t threads[STIR_MOST];
	long cores = sysconf(_SC_NPROCESSORS_ONLN), count = 0;

	while (count < 2 * cores && count < STIR_MOST &&
	       pthread_create(&threads[count], NULL, keep_busy, &until) == 0)
		count++;
	while (count > 0)
		(void)pthread_join(threads[--count], NULL);
}

void bench_pause(void)
{
	const struct timespec moment = { 0, 200000 };

	(void)nanosleep(&moment, NULL);
}

_Noreturn void bench_give_up(const char *what)
{
	fprintf(stderr, "simpler-bench: %s failed: %s\n", what, simpler_last_error());
	exit(EXIT_FAILURE);
}

const struct exec_callable *bench_callable(const struct bench *bench, struct modules *modules,
                                           struct callables *table)
{
	struct callable_spec spec = { .name = "noop_sub", .kind = SIMPLER_KIND_SUB };
	struct exec_callable *callable;
	struct module *module;
	struct digest digest;
	uint64_t handle;
	int fd;

	if (module_read_image(bench->module, &digest, &fd) != SIMPLER_OK ||
	    modules_add(modules, &digest, fd, NULL, &module) != SIMPLER_OK)
		bench_give_up("taking in the module");
	spec.module = module;
	if (callables_add(table, &spec, NULL, &handle) != SIMPLER_OK ||
	    callables_find(table, handle, SIMPLER_KIND_SUB, &callable) != SIMPLER_OK)
		bench_give_up("taking a callable from the module");
	(void)close(fd);
	return callable;
}

/* --- cases, in processes of their own --- */

void bench_start_node(struct daemon *node)
{
	static const char *const options[] = { "--sub-workers", "2",    "--fabric", "auto",
		                               "--log-level",   "warn", NULL };

	daemon_start(node, options);
}

static void run_remote(const struct bench_entry *entry, struct bench *bench)
{
	struct bare_grpc_server echo;

	/* First of all, since it forks. */
	if (!bare_grpc_server_start(&echo))
		bench_give_up("starting the bare echo");
	bench->bare = bare_grpc_connect(echo.address);
	if (!bench->bare)
		bench_give_up("connecting to the bare echo");
	bench_start_node(&bench->node);
	entry->run(entry->name, bench);
	(void)daemon_stop(&bench->node);
	bare_grpc_close(bench->bare);
	bare_grpc_server_stop(&echo);
}

static _Noreturn void be_case(const struct bench_entry *entry, struct bench *bench)
{
	bench->round_trips = ROUND_TRIPS * bench->iterations;
	bench->samples = calloc(bench->round_trips, sizeof(double));
	if (!bench->samples)
		bench_give_up("memory");
	if (entry->flags & REMOTE)
		run_remote(entry, bench);
	else
		entry->run(entry->name, bench);
	free(bench->samples);
	exit(EXIT_SUCCESS);
}

/* So that none finds the memory and the threads that another has left. */
static bool run_apart(const struct bench_entry *entry, struct bench *bench)
{
	pid_t pid;
	int status;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0)
		be_case(entry, bench);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "simpler-bench: case %s failed\n", entry->name);
		return false;
	}
	return true;
}

static bool is_meant(const struct bench_entry *entry, const char *name)
{
	return (strcmp(name, "all") == 0 && !(entry->flags & BY_NAME)) ||
	       strcmp(name, entry->name) == 0;
}

static bool is_known(const char *name)
{
	bool known = false;

	for (size_t i = 0; i < CASE_COUNT; i++)
		known |= is_meant(&cases[i], name);
	return known;
}

static bool run_cases(const char *name, struct bench *bench)
{
	bool good = true;

	for (size_t i = 0; i < CASE_COUNT; i++) {
		if (is_meant(&cases[i], name))
			good = run_apart(&cases[i], bench) && good;
	}
	return good;
}

/* --- the command line --- */

/* What is built beside this program, unless the environment names another. */
static void default_paths(const char *program, struct bench *bench)
{
	static char module[4096], daemon[4096], host[4096];
	char *copy = strdup(program);
	const char *folder = copy ? dirname(copy) : ".";

	(void)snprintf(module, sizeof(module), "%s/bench_module.so", folder);
	(void)snprintf(daemon, sizeof(daemon), "%s/../tools/simpler-l3d", folder);
	bench->module = module;
	(void)snprintf(host, sizeof(host), "%s/../tools/simpler-host", folder);
	(void)setenv("SIMPLER_L3D", daemon, 0);
	(void)setenv("SIMPLER_HOST", host, 0);
	free(copy);
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
	unsigned long value = strtoul(text, NULL, 10);

	return value < least ? least : value > most ? most : (unsigned)value;
}

/* False when the command line is wrong; `*first` is where the cases begin. */
static int parse(int argc, char **argv, struct bench *bench, int *first)
{
	static const struct option long_options[] = { { "rounds", required_argument, NULL, 'r' },
		                                      { "iterations", required_argument, NULL,
		                                        'i' },
		                                      { "help", no_argument, NULL, 'h' },
		                                      { NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 'r')
			bench->rounds = number(optarg, 1, STATS_MAX_ROUNDS);
		else if (option == 'i')
			bench->iterations = number(optarg, 10, 1000000);
		else if (option == 'h')
			exit(usage(stdout, 0));
		else
			return 0;
	}
	*first = optind;
	return optind < argc;
}

int main(int argc, char **argv)
{
	struct bench bench = { .rounds = 21, .iterations = 1000 };
	bool good = true;
	int first;

	default_paths(argv[0], &bench);
	if (!parse(argc, argv, &bench, &first))
		return usage(stderr, 2);
	for (int i = first; i < argc; i++) {
		if (!is_known(argv[i]))
			return usage(stderr, 2);
	}
	for (int i = first; i < argc; i++)
		good = run_cases(argv[i], &bench) && good;
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
