/*
 * What others take for a record, a message or a task that goes elsewhere and comes back, in the
 * same run: whichever of them were there when this was built. A row says what one takes, and how
 * many a second there are with 64 and 1,000 under way.
 *
 * Open MPI and StarPU are in programs of their own, as they want a process that is theirs. Open MPI
 * spins while it waits; StarPU's tasks run in threads of the process that submits them, and so
 * stand beside this project's local tasks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bare_echo.h"
#include "base/clock.h"
#include "dispatching.h"
#include "stats.h"

/* About what a dispatch of a task without arguments has. */
#define RECORD_BYTES 100
#define MOST         1000u /* under way */

struct row {
	double one;         /* microseconds, median; 0: not measured */
	double few, plenty; /* a second, with 64 and with 1,000 under way; likewise */
};

static void print_number(double value, const char *format)
{
	if (value > 0)
		printf(format, value);
	else
		printf(" %11s", "-");
}

static void print_row(const char *name, const struct row *row)
{
	printf("%-36s", name);
	if (!row) {
		printf(" %11s\n", "not here");
		return;
	}
	print_number(row->one, " %8.1f us");
	print_number(row->few, " %9.0f/s");
	print_number(row->plenty, " %9.0f/s");
	printf("\n");
}

/* --- the bare echoes --- */

static double echo_one(struct bare_echo *echo, const struct bench *bench)
{
	const struct bare_load load = { RECORD_BYTES, 1, 1, bench->iterations };
	struct stats_rounds rounds = { .unit = "us" };

	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		if (!bare_echo_run(echo, &load, bench->samples))
			bench_give_up("a bare echo");
		stats_floor(&rounds, bench->samples, bench->iterations);
	}
	return stats_floor_median(&rounds);
}

static double echo_many(struct bare_echo *echo, const struct bench *bench, unsigned outstanding)
{
	const struct bare_load load = { RECORD_BYTES, outstanding, 1, bench->round_trips };
	struct stats_rounds rounds = { .unit = "per_s" };
	double nanoseconds;

	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		if (!bare_echo_run(echo, &load, &nanoseconds))
			bench_give_up("a bare echo");
		stats_floor_rate(&rounds, load.count, (int64_t)nanoseconds);
	}
	return stats_floor_median(&rounds);
}

/* Some can do only the one or the other; NULL: not built. */
static void row_of_echo(const char *name, const struct bench *bench, const struct bare_kind *one,
                        const struct bare_kind *many)
{
	struct row row = { 0 };
	struct bare_echo echo;

	if (one && bare_echo_start(one, &echo)) {
		row.one = echo_one(&echo, bench);
		bare_echo_stop(&echo);
	}
	if (many && bare_echo_start(many, &echo)) {
		row.few = echo_many(&echo, bench, 64);
		row.plenty = echo_many(&echo, bench, MOST);
		bare_echo_stop(&echo);
	}
	print_row(name, row.one + row.few > 0 ? &row : NULL);
}

static double row_of_calls(const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "us" }, few = { .unit = "per_s" };
	struct row row = { 0 };

	for (unsigned i = 0; i < bench->rounds; i++) {
		int64_t began;

		bench_stir();
		if (!bare_grpc_run(bench->bare, RECORD_BYTES, 1, bench->iterations, bench->samples))
			bench_give_up("the bare echo");
		stats_floor(&rounds, bench->samples, bench->iterations);
		bench_stir();
		began = clock_now();
		if (!bare_grpc_run(bench->bare, RECORD_BYTES, 64, bench->round_trips,
		                   bench->samples))
			bench_give_up("the bare echo");
		stats_floor_rate(&few, bench->round_trips, clock_now() - began);
	}
	row.one = stats_floor_median(&rounds);
	row.few = stats_floor_median(&few);
	print_row("gRPC, a bare call each", &row);
	return row.one;
}

/* --- programs of their own --- */

/* Of this program's folder. */
static bool find_program(const char *name, char *path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", path, size - 1);
	char *end;

	if (length < 0)
		return false;
	path[length] = '\0';
	end = strrchr(path, '/');
	(void)snprintf(end + 1, size - (size_t)(end + 1 - path), "%s", name);
	return access(path, X_OK) == 0;
}

/* A line of three numbers. */
static bool read_row(FILE *output, struct row *row)
{
	double *numbers[] = { &row->one, &row->few, &row->plenty };
	char line[256], *at = line, *end;

	if (!fgets(line, sizeof(line), output))
		return false;
	for (size_t i = 0; i < 3; i++, at = end) {
		*numbers[i] = strtod(at, &end);
		if (end == at)
			return false;
	}
	return true;
}

/* `command` has a place for the path. */
static void row_of_program(const char *name, const char *program, const char *command)
{
	char path[4096], line[8192];
	struct row row = { 0 };
	bool good = false;
	FILE *output = NULL;

	if (find_program(program, path, sizeof(path))) {
		(void)snprintf(line, sizeof(line), command, path);
		(void)fflush(stdout);
		output = popen(line, "r"); /* NOLINT(cert-env33-c): nothing in it is a stranger's */
	}
	if (output) {
		good = read_row(output, &row);
		good = pclose(output) == 0 && good;
	}
	print_row(name, good ? &row : NULL);
}

#define MPIRUN                                                                                     \
	"OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "                               \
	"mpirun --oversubscribe --bind-to none -np 2 --mca btl_base_warn_component_unused 0 "

/* --- simpler --- */

static double row_of_lane(const struct bench *bench, simpler_lane lane)
{
	struct stats_rounds one = { .unit = "us" }, few = { .unit = "per_s" },
			    plenty = { .unit = "per_s" };
	struct dispatching_options options = { &bench->node, 1, "noop", lane, 64 };
	struct dispatching narrow, wide;
	char name[64];
	struct row row;

	(void)snprintf(name, sizeof(name), "simpler, a node, lane '%s'", simpler_lane_name(lane));
	if (!dispatching_try(bench, &options, &narrow)) {
		print_row(name, NULL);
		return 0;
	}
	options.outstanding = MOST;
	dispatching_connect(bench, &options, &wide);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		narrow.tasks = 1;
		dispatching_one_by_one(&narrow, bench->samples, bench->iterations);
		stats_floor(&one, bench->samples, bench->iterations);
		bench_stir();
		stats_floor_rate(&few, bench->round_trips,
		                 dispatching_many(&narrow, bench->round_trips));
		bench_stir();
		stats_floor_rate(&plenty, bench->round_trips,
		                 dispatching_many(&wide, bench->round_trips));
	}
	row = (struct row){ stats_floor_median(&one), stats_floor_median(&few),
		            stats_floor_median(&plenty) };
	print_row(name, &row);
	dispatching_close(&narrow);
	dispatching_close(&wide);
	return row.one;
}

/* In processes of this machine, of which there are two. */
static void row_of_local(const struct bench *bench)
{
	struct stats_rounds one = { .unit = "us" }, plenty = { .unit = "per_s" };
	struct dispatching work;
	struct row row = { 0 };

	dispatching_start_local(bench, 2, &work);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		work.tasks = 1;
		dispatching_one_by_one(&work, bench->samples, bench->iterations);
		stats_floor(&one, bench->samples, bench->iterations);
		bench_stir();
		stats_floor_rate(&plenty, bench->round_trips,
		                 dispatching_many(&work, bench->round_trips));
	}
	row.one = stats_floor_median(&one);
	row.plenty = stats_floor_median(&plenty);
	print_row("simpler, local sub workers", &row);
	dispatching_close(&work);
}

void case_peers(const char *name, const struct bench *bench)
{
	static const simpler_lane lanes[] = { SIMPLER_LANE_UNARY, SIMPLER_LANE_STREAM,
		                              SIMPLER_LANE_SHM, SIMPLER_LANE_FABRIC };
	double best = 0, call;

	printf("%-36s %11s %11s %11s\n", "", "one", "64", "1,000");
	/* First, since they fork. */
	row_of_echo("TCP, bare", bench, echo_tcp, echo_tcp);
	row_of_echo("gRPC, a bare stream", bench, echo_grpc, echo_grpc);
	row_of_echo("libfabric, bare messages", bench, echo_fabric, echo_fabric);
	row_of_echo("ZeroMQ", bench, echo_zmq_request, echo_zmq_many);
	call = row_of_calls(bench);
	row_of_program("Open MPI, TCP", "peer_mpi",
	               MPIRUN "--mca btl tcp,self %s 100 20000 2>/dev/null");
	row_of_program("Open MPI, shared memory", "peer_mpi",
	               MPIRUN "--mca btl vader,self %s 100 20000 2>/dev/null");
	for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++) {
		double one = row_of_lane(bench, lanes[i]);

		if (one > 0 && (best == 0 || one < best))
			best = one;
	}
	row_of_program("StarPU, threads of its process", "peer_starpu",
	               "STARPU_SILENT=1 %s 20000 2>/dev/null");
	row_of_local(bench);
	printf("%s ratio=%.3f value=%.1f floor=%.1f unit=us\n", name, best / call, best, call);
}
