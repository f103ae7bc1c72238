/*
 * Functions of this very program in four worker processes: how many primes are there below a
 * million?
 *
 *     cc -o local_functions local_functions.c -lsimpler
 *     ./local_functions
 *
 * No module, no daemon: main() begins with simpler_program_serve(), and so the program's own
 * functions exist in its workers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <simpler/simpler.h>

#define PARTS   4
#define HIGHEST 1000000

/* What one task finds out. */
enum { PRIMES, PROCESS, ANSWERS };

static bool is_prime(uint64_t number)
{
	for (uint64_t factor = 2; factor * factor <= number; factor++) {
		if (number % factor == 0)
			return false;
	}
	return number > 1;
}

/* In a worker process: the primes from scalar 0 on and below scalar 1, into tensor 0. */
static simpler_status count_primes(const simpler_args *args, simpler_bytes state)
{
	simpler_tensor answers;
	uint64_t from, to;
	int64_t found = 0;

	(void)state;
	if (simpler_args_tensor(args, 0, &answers) != SIMPLER_OK ||
	    simpler_args_scalar(args, 0, &from) != SIMPLER_OK ||
	    simpler_args_scalar(args, 1, &to) != SIMPLER_OK)
		return simpler_last_status();
	for (uint64_t number = from; number < to; number++)
		found += is_prime(number);
	((int64_t *)answers.data)[PRIMES] = found;
	((int64_t *)answers.data)[PROCESS] = getpid();
	return SIMPLER_OK;
}

/* In this process: a task for each part. */
struct job {
	simpler_sub count_primes;
	simpler_tensor answers[PARTS];
};

static simpler_status submit_parts(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	const struct job *job = state.data;
	simpler_args *part = simpler_args_create();
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (uint64_t i = 0; i < PARTS && status == SIMPLER_OK; i++) {
		simpler_args_reset(part);
		(void)simpler_args_add_tensor(part, &job->answers[i], SIMPLER_OUTPUT,
		                              SIMPLER_SHARED);
		(void)simpler_args_add_scalar(part, i * HIGHEST / PARTS);
		(void)simpler_args_add_scalar(part, (i + 1) * HIGHEST / PARTS);
		status = simpler_submit_sub(orch, job->count_primes, part, NULL, NULL);
	}
	simpler_args_destroy(part);
	return status;
}

static simpler_status run(simpler_worker *worker, struct job *job)
{
	const int64_t shape[] = { ANSWERS };
	simpler_status status = simpler_worker_add_subs(worker, PARTS, NULL);

	if (status == SIMPLER_OK)
		status = simpler_program_sub(worker, count_primes, "count_primes",
		                             simpler_no_state(), &job->count_primes);
	if (status == SIMPLER_OK)
		status = simpler_worker_init(worker);
	for (int i = 0; i < PARTS && status == SIMPLER_OK; i++)
		status = simpler_alloc(worker, SIMPLER_INT64, 1, shape, &job->answers[i]);
	if (status == SIMPLER_OK)
		status = simpler_run(worker, submit_parts, NULL, NULL,
		                     (simpler_bytes){ job, sizeof(*job) });
	return status;
}

int main(void)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker = NULL;
	struct job job;
	int64_t primes = 0;
	simpler_status status;

	simpler_program_serve();
	options.level = 3;
	status = simpler_worker_create(&options, &worker);
	if (status == SIMPLER_OK)
		status = run(worker, &job);
	if (status != SIMPLER_OK)
		fprintf(stderr, "%s\n", simpler_last_error());
	for (int i = 0; i < PARTS && status == SIMPLER_OK; i++) {
		const int64_t *answers = job.answers[i].data;

		printf("process %" PRId64 " found %" PRId64 " primes\n", answers[PROCESS],
		       answers[PRIMES]);
		primes += answers[PRIMES];
	}
	if (status == SIMPLER_OK)
		printf("%" PRId64 " primes below %d, counted for process %ld\n", primes, HIGHEST,
		       (long)getpid());
	simpler_worker_close(worker);
	return status == SIMPLER_OK ? 0 : 1;
}
