/*
 * simpler-bench CASE...: a figure and its bare floor, measured in the same run.
 *
 * Each case alternates between floor and figure for several rounds, since machines drift, and
 * prints a line a round and, last, "CASE ratio=R value=V floor=F unit=U" with medians.
 */
#include <getopt.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases.h"
#include "simpler/status.h"
#include "stats.h"

static const struct {
	const char *name, *what;
	bench_case *run;
} cases[] = {
	{ "rpc_hop", "Heartbeat to the daemon; floor: bare gRPC unary echo", case_rpc_hop },
	{ "dispatch", "remote no-op, one outstanding; floor: bare gRPC unary echo", case_dispatch },
	{ "dispatch_sub", "remote no-op with one sub task; floor: bare gRPC unary echo",
	  case_dispatch_sub },
	{ "dispatch_many",
	  "remote no-ops a second, 64 outstanding; floor: bare echoes, 64 outstanding",
	  case_dispatch_many },
};

#define STIR_MS   10
#define STIR_MOST 64

#define CASE_COUNT (sizeof(cases) / sizeof(cases[0]))

static int usage(FILE *out, int status)
{
	fprintf(out, "usage: simpler-bench [--rounds N] [--iterations N] CASE...|all\n\n");
	for (size_t i = 0; i < CASE_COUNT; i++)
		fprintf(out, "  %-14s %s\n", cases[i].name, cases[i].what);
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

_Noreturn void bench_give_up(const char *what)
{
	fprintf(stderr, "simpler-bench: %s failed: %s\n", what, simpler_last_error());
	exit(EXIT_FAILURE);
}

static int run_case(const char *name, const struct bench *bench)
{
	int found = 0;

	for (size_t i = 0; i < CASE_COUNT; i++) {
		if (strcmp(name, "all") != 0 && strcmp(name, cases[i].name) != 0)
			continue;
		cases[i].run(cases[i].name, bench);
		(void)fflush(stdout);
		found = 1;
	}
	return found;
}

/* What is built beside this program, unless the environment names another. */
static void default_paths(const char *program, struct bench *bench)
{
	static char module[4096], daemon[4096];
	char *copy = strdup(program);
	const char *folder = copy ? dirname(copy) : ".";

	(void)snprintf(module, sizeof(module), "%s/bench_module.so", folder);
	(void)snprintf(daemon, sizeof(daemon), "%s/../tools/simpler-l3d", folder);
	bench->module = module;
	(void)setenv("SIMPLER_L3D", daemon, 0);
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
	static const char *const daemon_options[] = { "--sub-workers", "2", "--log-level", "warn",
		                                      NULL };
	struct bench bench = { .rounds = 21, .iterations = 1000 };
	struct bare_grpc_server echo;
	int first, known = 1;

	default_paths(argv[0], &bench);
	if (!parse(argc, argv, &bench, &first))
		return usage(stderr, 2);
	bench.samples = calloc(bench.iterations, sizeof(double));
	/* First of all, since it forks. */
	if (!bench.samples || !bare_grpc_server_start(&echo))
		bench_give_up("starting the bare echo");
	bench.bare = bare_grpc_connect(echo.address);
	daemon_start(&bench.node, daemon_options);
	for (int i = first; i < argc && known; i++)
		known = run_case(argv[i], &bench);
	(void)daemon_stop(&bench.node);
	bare_grpc_close(bench.bare);
	bare_grpc_server_stop(&echo);
	free(bench.samples);
	return known ? 0 : usage(stderr, 2);
}
