#include "stats.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double stats_quantile(double *samples, size_t count, double fraction)
{
	size_t index = (size_t)((double)(count - 1) * fraction + 0.5);

	qsort(samples, count, sizeof(*samples), compare);
	return samples[index];
}

void stats_report(const char *name, struct stats_pair *pair, const char *unit)
{
	double ratios[STATS_MAX_ROUNDS], ratio, value, floor;

	for (size_t i = 0; i < pair->rounds; i++)
		ratios[i] = pair->value[i] / pair->floor[i];
	ratio = stats_quantile(ratios, pair->rounds, 0.5);
	value = stats_quantile(pair->value, pair->rounds, 0.5);
	floor = stats_quantile(pair->floor, pair->rounds, 0.5);
	printf("%s ratio=%.3f value=%.1f floor=%.1f unit=%s\n", name, ratio, value, floor, unit);
}
