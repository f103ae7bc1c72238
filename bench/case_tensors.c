/* Bytes of tensors to a node and back, and tasks that use what is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cases.h"
#include "simpler/simpler.h"
#include "stats.h"

#define MIB   ((size_t)1 << 20)
#define MOVED (64 * MIB)
#define MOVES 4u /* of them, a round */

struct work {
	simpler_worker *worker;
	simpler_orch_fn fn;
	const simpler_args *args;
};

static void connect_node(const struct bench *bench, struct work *work, simpler_fabric fabric)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	*work = (struct work){ .worker = NULL };
	options.fabric = fabric;
	if (simpler_worker_create(&options, &work->worker) != SIMPLER_OK ||
	    simpler_worker_add_remote(work->worker, bench->node.address, NULL) != SIMPLER_OK ||
	    simpler_module_load(work->worker, bench->module, &module) != SIMPLER_OK ||
	    simpler_module_orch_fn(module, "noop", simpler_no_state(), &work->fn) != SIMPLER_OK ||
	    simpler_worker_init(work->worker) != SIMPLER_OK)
		bench_give_up("connecting");
}

static simpler_tensor_handle alloc(const struct work *work, size_t size)
{
	int64_t count = (int64_t)size;
	simpler_tensor_handle handle;

	if (simpler_tensor_alloc(work->worker, 0, SIMPLER_UINT8, 1, &count, NULL, &handle) !=
	    SIMPLER_OK)
		bench_give_up("allocating a tensor");
	return handle;
}

static simpler_tensor memory(size_t size)
{
	simpler_tensor tensor;
	void *bytes = malloc(size);

	if (!bytes ||
	    simpler_tensor_init_1d(&tensor, bytes, SIMPLER_UINT8, (int64_t)size) != SIMPLER_OK)
		bench_give_up("memory");
	memset(bytes, 1, size);
	return tensor;
}

/* --- bytes --- */

static void move(const struct work *work, simpler_tensor_handle handle, const simpler_tensor *local,
                 bool pull, simpler_transport transport)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_status status;

	options.transport = transport;
	status = pull ? simpler_tensor_read(work->worker, handle, NULL, local, &options)
	              : simpler_tensor_write(work->worker, handle, NULL, local, &options);
	if (status != SIMPLER_OK)
		bench_give_up("moving a tensor");
}

static int64_t time_moves(const struct work *work, simpler_tensor_handle handle,
                          const simpler_tensor *local, bool pull, simpler_transport transport)
{
	int64_t began = clock_now();

	for (unsigned i = 0; i < MOVES; i++)
		move(work, handle, local, pull, transport);
	return clock_now() - began;
}

static int64_t time_bare(const struct bench *bench, bool pull)
{
	double all = 0, one;

	for (unsigned i = 0; i < MOVES; i++) {
		if (!bare_grpc_stream(bench->bare, pull, MIB, MOVED / MIB, &one))
			bench_give_up("the bare stream");
		all += one;
	}
	return (int64_t)all;
}

static void measure_stream(const char *name, const struct bench *bench, bool pull)
{
	struct stats_rounds rounds = { .unit = "MiB_per_s" };
	simpler_tensor local = memory(MOVED);
	simpler_tensor_handle handle;
	struct work work;

	connect_node(bench, &work, SIMPLER_FABRIC_OFF);
	handle = alloc(&work, MOVED);
	move(&work, handle, &local, pull, SIMPLER_TRANSPORT_STREAM);
	(void)time_bare(bench, pull);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		stats_floor_rate(&rounds, MOVES * (MOVED / MIB), time_bare(bench, pull));
		bench_stir();
		stats_value_rate(&rounds, MOVES * (MOVED / MIB),
		                 time_moves(&work, handle, &local, pull, SIMPLER_TRANSPORT_STREAM));
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
	free(local.data);
}

void case_stream_push(const char *name, const struct bench *bench)
{
	measure_stream(name, bench, false);
}

void case_stream_pull(const char *name, const struct bench *bench)
{
	measure_stream(name, bench, true);
}

void case_shm_write(const char *name, const struct bench *bench)
{
	struct stats_rounds rounds = { .unit = "MiB_per_s" };
	simpler_tensor local = memory(MOVED), other = memory(MOVED);
	simpler_tensor_handle handle;
	struct work work;

	connect_node(bench, &work, SIMPLER_FABRIC_OFF);
	handle = alloc(&work, MOVED);
	move(&work, handle, &local, false, SIMPLER_TRANSPORT_SHM);
	for (unsigned i = 0; i < bench->rounds; i++) {
		int64_t began;

		bench_stir();
		began = clock_now();
		for (unsigned k = 0; k < MOVES; k++) {
			((volatile uint8_t *)local.data)[k] = (uint8_t)k;
			memcpy(other.data, local.data, MOVED);
		}
		stats_floor_rate(&rounds, MOVES * (MOVED / MIB), clock_now() - began);
		bench_stir();
		stats_value_rate(&rounds, MOVES * (MOVED / MIB),
		                 time_moves(&work, handle, &local, false, SIMPLER_TRANSPORT_SHM));
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
	free(local.data);
	free(other.data);
}

/* --- tasks --- */

static simpler_status submit_one(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct work *work = state.data;

	(void)args;
	(void)config;
	return simpler_submit_next_level(orch, work->fn, work->args, NULL, NULL);
}

static double time_task(struct work *work, const simpler_args *args)
{
	simpler_bytes state = { work, sizeof(*work) };
	int64_t began = clock_now();

	work->args = args;
	if (simpler_run(work->worker, submit_one, NULL, NULL, state) != SIMPLER_OK)
		bench_give_up("a run");
	return (double)(clock_now() - began);
}

static void measure_resident(const char *name, const struct bench *bench, size_t size)
{
	struct stats_rounds rounds = { .unit = "us" };
	simpler_args *args = simpler_args_create();
	int64_t count = (int64_t)size;
	struct work work;

	connect_node(bench, &work, SIMPLER_FABRIC_OFF);
	if (simpler_args_add_handle(args, alloc(&work, size), 0, SIMPLER_UINT8, 1, &count,
	                            SIMPLER_INOUT) != SIMPLER_OK)
		bench_give_up("an argument");
	for (unsigned i = 0; i < bench->iterations; i++)
		(void)time_task(&work, args);
	for (unsigned i = 0; i < bench->rounds; i++) {
		/* In turn, as both depend on where the scheduler has put the processes. */
		bench_stir();
		for (unsigned k = 0; k < bench->iterations; k++) {
			bench->samples[k] = time_task(&work, NULL);
			bench->samples[bench->iterations + k] = time_task(&work, args);
		}
		stats_floor(&rounds, bench->samples, bench->iterations);
		stats_value(&rounds, bench->samples + bench->iterations, bench->iterations);
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
	simpler_args_destroy(args);
}

void case_tensor_task(const char *name, const struct bench *bench)
{
	char other[64];

	(void)snprintf(other, sizeof(other), "%s_1k", name);
	measure_resident(other, bench, 1 << 10);
	(void)snprintf(other, sizeof(other), "%s_256m", name);
	measure_resident(other, bench, 256 * MIB);
	measure_resident(name, bench, MIB);
}

static bool has_fabric(void)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;

	options.fabric = SIMPLER_FABRIC_TCP;
	if (simpler_worker_create(&options, &worker) != SIMPLER_OK)
		return false;
	simpler_worker_close(worker);
	return true;
}

static void measure_staged(const char *name, const struct bench *bench, size_t size,
                           simpler_transport transport)
{
	unsigned count = size > MIB ? 8 : 200;
	bool by_fabric = transport == SIMPLER_TRANSPORT_FABRIC;
	struct stats_rounds rounds = { .unit = "us" };
	simpler_args *args = simpler_args_create();
	simpler_tensor local = memory(size);
	simpler_tensor_handle handle;
	struct work work;

	if (count > bench->iterations)
		count = bench->iterations;
	connect_node(bench, &work, by_fabric ? SIMPLER_FABRIC_TCP : SIMPLER_FABRIC_OFF);
	handle = alloc(&work, size);
	if (simpler_args_add_staged(args, &local, SIMPLER_INOUT, transport) != SIMPLER_OK)
		bench_give_up("an argument");
	for (unsigned i = 0; i < 3; i++) {
		(void)time_task(&work, args);
		move(&work, handle, &local, false, transport);
	}
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		for (unsigned k = 0; k < count; k++) {
			int64_t began = clock_now();

			move(&work, handle, &local, false, transport);
			(void)time_task(&work, NULL);
			move(&work, handle, &local, true, transport);
			bench->samples[k] = (double)(clock_now() - began);
			bench->samples[count + k] = time_task(&work, args);
		}
		stats_floor(&rounds, bench->samples, count);
		stats_value(&rounds, bench->samples + count, count);
	}
	stats_report(name, &rounds);
	simpler_worker_close(work.worker);
	simpler_args_destroy(args);
	free(local.data);
}

void case_staged_task(const char *name, const struct bench *bench)
{
	static const struct {
		const char *suffix;
		size_t size;
		simpler_transport transport;
	} kinds[] = {
		{ "1m_stream", MIB, SIMPLER_TRANSPORT_STREAM },
		{ "1m_shm", MIB, SIMPLER_TRANSPORT_SHM },
		{ "1m_fabric", MIB, SIMPLER_TRANSPORT_FABRIC },
		{ "64m_stream", MOVED, SIMPLER_TRANSPORT_STREAM },
		{ "64m_shm", MOVED, SIMPLER_TRANSPORT_SHM },
		{ "64m_fabric", MOVED, SIMPLER_TRANSPORT_FABRIC },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char full[64];

		(void)snprintf(full, sizeof(full), "%s_%s", name, kinds[i].suffix);
		if (kinds[i].transport == SIMPLER_TRANSPORT_FABRIC && !has_fabric())
			printf("%s SKIPPED: libfabric has no tcp;ofi_rxm here\n", full);
		else
			measure_staged(full, bench, kinds[i].size, kinds[i].transport);
	}
}
