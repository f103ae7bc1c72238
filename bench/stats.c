#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static double nanoseconds_in(const char *unit)
{
	return strcmp(unit, "ns") == 0 ? 1 : 1e3;
}

static struct stats_figure times(const char *unit, double *samples, size_t count)
{
	struct stats_figure figure;

	figure.p50 = median(samples, count) / nanoseconds_in(unit);
	figure.p99 = quantile(samples, count, 0.99) / nanoseconds_in(unit);
	return figure;
}

static struct stats_figure rate(uint64_t count, int64_t nanoseconds)
{
	struct stats_figure figure = { (double)count * 1e9 / (double)nanoseconds, 0 };

	return figure;
}

void stats_floor(struct stats_rounds *rounds, double *samples, size_t count)
{
	rounds->floor[rounds->floors++] = times(rounds->unit, samples, count);
}

void stats_value(struct stats_rounds *rounds, double *samples, size_t count)
{
	rounds->value[rounds->values++] = times(rounds->unit, samples, count);
}

void stats_floor_rate(struct stats_rounds *rounds, uint64_t count, int64_t nanoseconds)
{
	rounds->floor[rounds->floors++] = rate(count, nanoseconds);
}

void stats_value_rate(struct stats_rounds *rounds, uint64_t count, int64_t nanoseconds)
{
	rounds->value[rounds->values++] = rate(count, nanoseconds);
}

double stats_floor_median(const struct stats_rounds *rounds)
{
	double floors[STATS_MAX_ROUNDS];

	for (size_t i = 0; i < rounds->floors; i++)
		floors[i] = rounds->floor[i].p50;
	return median(floors, rounds->floors);
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
	double values[STATS_MAX_ROUNDS], floors[STATS_MAX_ROUNDS], tails[STATS_MAX_ROUNDS];
	double value, floor;

	for (size_t i = 0; i < rounds->values; i++) {
		print_round(rounds, i);
		values[i] = rounds->of_tails ? rounds->value[i].p99 : rounds->value[i].p50;
		floors[i] = rounds->of_tails ? rounds->floor[i].p99 : rounds->floor[i].p50;
		tails[i] = rounds->value[i].p99;
	}
	value = median(values, rounds->values);
	floor = median(floors, rounds->values);
	if (rounds->many)
		printf("%s rate=%.0f unit=per_s\n", name,
		       1e9 / (value * nanoseconds_in(rounds->unit)));
	printf("%s ratio=%.3f value=%.1f floor=%.1f unit=%s", name, value / floor, value, floor,
	       rounds->unit);
	if (rounds->tail)
		printf(" p99=%.1f", median(tails, rounds->values));
	printf("\n");
}
