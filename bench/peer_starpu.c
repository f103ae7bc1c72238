/*
 * A peer of simpler-bench: tasks that do nothing on StarPU's threads. Prints the median of a task
 * that is submitted and waited for in microseconds, and tasks a second with 64 and 1,000 at a time.
 *
 * Usage: peer_starpu COUNT
 */
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void nothing(void **buffers, void *argument)
{
	(void)buffers;
	(void)argument;
}

static struct starpu_codelet codelet = { .cpu_funcs = { nothing }, .nbuffers = 0 };

static void submit(void)
{
	struct starpu_task *task = starpu_task_create();

	task->cl = &codelet;
	if (starpu_task_submit(task) != 0)
		exit(1);
}

static double one_by_one(int count)
{
	double *times = calloc((size_t)count, sizeof(*times)), median;

	if (!times)
		exit(1);
	for (int i = 0; i < count; i++) {
		double began = starpu_timing_now();

		submit();
		starpu_task_wait_for_all();
		times[i] = starpu_timing_now() - began;
	}
	qsort(times, (size_t)count, sizeof(*times), compare);
	median = times[count / 2];
	free(times);
	return median;
}

static double many(int count, int at_once)
{
	double began = starpu_timing_now();

	for (int i = 0; i < count; i++) {
		submit();
		if ((i + 1) % at_once == 0)
			starpu_task_wait_for_all();
	}
	starpu_task_wait_for_all();
	return count / (starpu_timing_now() - began) * 1e6;
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 10000;
	double latency, few;

	if (starpu_init(NULL) != 0)
		return 77;
	(void)one_by_one(count / 10 + 1);
	latency = one_by_one(count);
	few = many(count, 64);
	printf("%.3f %.0f %.0f\n", latency, few, many(count, 1000));
	starpu_shutdown();
	return 0;
}
