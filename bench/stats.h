/* Figures out of samples, a floor and a value a round. Samples are nanoseconds. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_MAX_ROUNDS 32

struct stats_figure {
	double p50, p99; /* a rate has no p99: 0 */
};

struct stats_rounds {
	const char *unit; /* "us" or "ns" for times, "per_s" for rates */
	bool many;        /* times of one of many: also say how many a second that makes */
	bool of_tails;    /* the figures are the 99th percentiles of the rounds, not the medians */
	bool tail;        /* the 99th percentile goes into the last line, too */
	struct stats_figure floor[STATS_MAX_ROUNDS], value[STATS_MAX_ROUNDS];
	size_t floors, values;
};

/* Times: the quantiles of a round's samples, which are sorted by it. */
void stats_floor(struct stats_rounds *rounds, double *samples, size_t count);
void stats_value(struct stats_rounds *rounds, double *samples, size_t count);
/* Rates: so many in so many nanoseconds. */
void stats_floor_rate(struct stats_rounds *rounds, uint64_t count, int64_t nanoseconds);
void stats_value_rate(struct stats_rounds *rounds, uint64_t count, int64_t nanoseconds);

/* Of the floors' medians. */
double stats_floor_median(const struct stats_rounds *rounds);

/*
 * Print a line a round and, last, "CASE ratio=R value=V floor=F unit=U": the medians over the
 * rounds, and the one by the other. With `tail` also " p99=P", the median of the values' ones; with
 * `many` a line "CASE rate=N unit=per_s" before it. Not the median of the rounds' ratios: where the
 * scheduler puts the processes is drawn anew for each measurement (bench_stir()), so a round's two
 * have no more to do with each other than any two. Less is better for a time, more for a rate.
 */
void stats_report(const char *name, struct stats_rounds *rounds);

#endif
