/* Figures out of samples. All times are nanoseconds. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

/* Sorts the samples. `fraction` 0.5 is the median. */
double stats_quantile(double *samples, size_t count, double fraction);

/* One figure and its floor, measured in turn over several rounds. */
#define STATS_MAX_ROUNDS 32

struct stats_pair {
	double value[STATS_MAX_ROUNDS], floor[STATS_MAX_ROUNDS];
	size_t rounds;
};

/*
 * Print a line a round and, last, "CASE ratio=R value=V floor=F unit=U": the medians over the
 * rounds, the ratio that of the pairs. For a rate the ratio is value by floor too, so more is
 * better there and less is better for a time.
 */
void stats_report(const char *name, struct stats_pair *pair, const char *unit);

#endif
