#include "stats.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of sorted samples. */
static double quantile(const double *samples, size_t count, double fraction)
{
	return samples[(size_t)((double)(count - 1) * fraction + 0.5)];
}

static double median(double *samples, size_t count)
{
	qsort(samples, count, sizeof(*samples), compare);
	return quantile(samples, count, 0.5);
}

static struct stats_figure times(double *samples, size_t count)
{
	struct stats_figure figure;

	figure.p50 = median(samples, count) / 1e3;
	figure.p99 = quantile(samples, count, 0.99) / 1e3;
	return figure;
}

static struct stats_figure rate(uint64_t count, int64_t nanoseconds)
{
	struct stats_figure figure = { (double)count * 1e9 / (double)nanoseconds, 0 };

	return figure;
}

void stats_floor(struct stats_rounds *rounds, double *samples, size_t count)
{
	rounds->floor[rounds->floors++] = times(samples, count);
}

void stats_value(struct stats_rounds *rounds, double *samples, size_t count)
{
	rounds->value[rounds->values++] = times(samples, count);
}

void stats_floor_rate(struct stats_rounds *rounds, uint64_t count, int64_t nanoseconds)
{
	rounds->floor[rounds->floors++] = rate(count, nanoseconds);
}

void stats_value_rate(struct stats_rounds *rounds, uint64_t count, int64_t nanoseconds)
{
	rounds->value[rounds->values++] = rate(count, nanoseconds);
}

static void print_round(const struct stats_rounds *rounds, size_t i)
{
	const struct stats_figure *floor = &rounds->floor[i], *value = &rounds->value[i];

	if (value->p99 > 0)
		printf("  round %zu: %.1f (p99 %.1f), floor %.1f (p99 %.1f) %s, ratio %.3f\n",
		       i + 1, value->p50, value->p99, floor->p50, floor->p99, rounds->unit,
		       value->p50 / floor->p50);
	else
		printf("  round %zu: %.0f, floor %.0f %s, ratio %.3f\n", i + 1, value->p50,
		       floor->p50, rounds->unit, value->p50 / floor->p50);
}

void stats_report(const char *name, struct stats_rounds *rounds)
{
	double values[STATS_MAX_ROUNDS], floors[STATS_MAX_ROUNDS], value, floor;

	for (size_t i = 0; i < rounds->values; i++) {
		print_round(rounds, i);
		values[i] = rounds->value[i].p50;
		floors[i] = rounds->floor[i].p50;
	}
	value = median(values, rounds->values);
	floor = median(floors, rounds->values);
	printf("%s ratio=%.3f value=%.1f floor=%.1f unit=%s\n", name, value / floor, value, floor,
	       rounds->unit);
}
