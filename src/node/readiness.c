#include "node/readiness.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "node/node.h"

const char *readiness_name(enum readiness_what what)
{
	static const char *const names[] = {
		[READINESS_DRAINING] = "draining", [READINESS_ENGINE] = "engine",
		[READINESS_WORKERS] = "workers",   [READINESS_DEVICES] = "devices",
		[READINESS_NO_POOL] = "pool",      [READINESS_NO_CATALOG] = "catalog",
	};

	return names[what];
}

static SIMPLER_PRINTF(5, 6) void add(struct readiness_report *out, enum readiness_what what,
                                     unsigned services, int64_t since, const char *format, ...)
{
	struct readiness_reason *reason = &out->reasons[out->count++];
	va_list arguments;

	out->stopped |= services;
	reason->what = what;
	reason->services = services;
	reason->since = since;
	va_start(arguments, format);
	(void)vsnprintf(reason->why, sizeof(reason->why), format, arguments);
	va_end(arguments);
}

/* What has no time of its own holds since it was first seen to. */
static int64_t first_seen(struct readiness *readiness, enum readiness_what what)
{
	int64_t seen = 0, now = clock_now();

	return atomic_compare_exchange_strong(&readiness->since[what], &seen, now) ? now : seen;
}

/* --- reasons --- */

static void look_at_engine(const struct engine_report *engine, struct readiness_report *out)
{
	const char *end = engine->last_end[0] ? engine->last_end : "it is the first";
	unsigned both = READINESS_WORKER | READINESS_CATALOG;
	int64_t left = engine->retry - clock_now();

	if (engine->state == ENGINE_DOWN && engine->young_deaths > 1)
		add(out, READINESS_ENGINE, both, engine->since,
		    "%s; %u engines in a row ended young, and the next one starts in %lld ms", end,
		    engine->young_deaths, (long long)(left > 0 ? left / CLOCK_MS : 0));
	else if (engine->state == ENGINE_DOWN)
		add(out, READINESS_ENGINE, both, engine->since, "%s; a new one is started", end);
	else if (engine->state == ENGINE_STARTING)
		add(out, READINESS_ENGINE, both, engine->since,
		    "a new engine is coming up; of the last one: %s", end);
	else if (!engine->answering)
		add(out, READINESS_ENGINE, both, engine->heard,
		    "the engine (pid %ld) is alive and does not answer: it is stopped, or starved",
		    (long)engine->pid);
	else if (engine->state == ENGINE_INSTALLING)
		add(out, READINESS_ENGINE, READINESS_WORKER, engine->since,
		    "a new engine is being given the callables; of the last one: %s", end);
}

static void look_at_kind(const struct vitals_workers *workers, const char *kind,
                         struct readiness *readiness, struct readiness_report *out)
{
	if (workers->count == 0 || workers->idle + workers->busy > 0)
		return;
	add(out, READINESS_WORKERS, READINESS_WORKER, first_seen(readiness, READINESS_WORKERS),
	    "none of %u %ss is alive: %u are being started, %u died young too often and are "
	    "started later",
	    workers->count, kind, workers->restarting, workers->dead);
}

static void look_at_vitals(const struct vitals *vitals, struct readiness *readiness,
                           struct readiness_report *out)
{
	unsigned before = out->count;

	look_at_kind(&vitals->subs, "sub worker", readiness, out);
	if (out->count == before)
		look_at_kind(&vitals->chips, "chip", readiness, out);
	if (out->count == before && vitals->helper_stopped)
		add(out, READINESS_WORKERS, READINESS_WORKER,
		    first_seen(readiness, READINESS_WORKERS),
		    "the spawn helper is stopped: a worker that dies is not replaced");
	if (vitals->chips.count > 0 && vitals->chips_shut == vitals->chips.count)
		add(out, READINESS_DEVICES, READINESS_WORKER,
		    first_seen(readiness, READINESS_DEVICES), "no chip has its device: %s",
		    vitals->device_error);
}

static void look_at_pool(struct node *node, struct readiness_report *out)
{
	struct pool_stats stats;

	pool_stats(node->pool, &stats);
	if (stats.largest_free == 0)
		add(out, READINESS_NO_POOL, READINESS_POOL,
		    first_seen(&node->readiness, READINESS_NO_POOL),
		    "all %llu bytes of the tensor pool are used",
		    (unsigned long long)stats.capacity);
	else if (stats.handles >= stats.max_handles)
		add(out, READINESS_NO_POOL, READINESS_POOL,
		    first_seen(&node->readiness, READINESS_NO_POOL),
		    "all %u tensor handles are taken", stats.max_handles);
}

static void look_at_catalog(struct node *node, struct readiness_report *out)
{
	const struct catalog_options *limits = catalog_limits(node->catalog);
	struct catalog_stats stats;

	catalog_stats(node->catalog, &stats);
	if (stats.callables >= limits->callables)
		add(out, READINESS_NO_CATALOG, READINESS_CATALOG,
		    first_seen(&node->readiness, READINESS_NO_CATALOG),
		    "%zu callables are registered, which is the limit", stats.callables);
	else if (stats.modules.in_use >= limits->modules.modules ||
	         stats.modules.bytes_in_use >= limits->modules.bytes)
		add(out, READINESS_NO_CATALOG, READINESS_CATALOG,
		    first_seen(&node->readiness, READINESS_NO_CATALOG),
		    "modules in use leave no room for another: %zu of %zu, with %llu of %llu bytes",
		    stats.modules.in_use, limits->modules.modules,
		    (unsigned long long)stats.modules.bytes_in_use,
		    (unsigned long long)limits->modules.bytes);
}

static void forget_others(struct readiness *readiness, const struct readiness_report *report)
{
	unsigned holding = 0;

	for (unsigned i = 0; i < report->count; i++)
		holding |= 1u << report->reasons[i].what;
	for (unsigned what = 0; what < READINESS_WHATS; what++) {
		if (!(holding & 1u << what))
			atomic_store(&readiness->since[what], 0);
	}
}

void readiness_report(struct node *node, struct readiness_report *out)
{
	struct engine_report engine;

	out->count = out->stopped = 0;
	engine_client_report(node->engine, &engine);
	if (atomic_load(&node->draining))
		add(out, READINESS_DRAINING, READINESS_ALL,
		    first_seen(&node->readiness, READINESS_DRAINING),
		    "the daemon was told to end: %u tasks are running, and new ones are refused",
		    atomic_load(&node->running));
	look_at_engine(&engine, out);
	if (engine.has_vitals)
		look_at_vitals(&engine.vitals, &node->readiness, out);
	look_at_pool(node, out);
	look_at_catalog(node, out);
	forget_others(&node->readiness, out);
}
