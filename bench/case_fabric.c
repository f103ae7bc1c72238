/* Tensors written to a node and read from it by a fabric, at three sizes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bare_fabric.h"
#include "base/clock.h"
#include "cases.h"
#include "simpler/simpler.h"
#include "stats.h"

#define MIB ((size_t)1 << 20)

struct way {
	const char *name;
	bool read;
	size_t size;
	unsigned count; /* transfers a round */
};

static simpler_worker *connect_node(const struct bench *bench)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_worker *worker;

	options.fabric = SIMPLER_FABRIC_TCP;
	if (simpler_worker_create(&options, &worker) != SIMPLER_OK ||
	    simpler_worker_add_remote(worker, bench->node.address, NULL) != SIMPLER_OK ||
	    simpler_worker_init(worker) != SIMPLER_OK)
		bench_give_up("connecting");
	return worker;
}

static int64_t time_moves(simpler_worker *worker, simpler_tensor_handle handle,
                          const simpler_tensor *local, const struct way *way)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	int64_t began = clock_now();

	options.transport = SIMPLER_TRANSPORT_FABRIC;
	for (unsigned i = 0; i < way->count; i++) {
		simpler_status status =
			way->read ? simpler_tensor_read(worker, handle, NULL, local, &options)
				  : simpler_tensor_write(worker, handle, NULL, local, &options);

		if (status != SIMPLER_OK)
			bench_give_up("moving a tensor");
	}
	return clock_now() - began;
}

static int64_t time_bare(struct bare_fabric *bare, const struct way *way)
{
	double took;

	if (!bare_fabric_run(bare, way->read, way->size, way->count, &took))
		bench_give_up("the bare transfer");
	return (int64_t)took;
}

static void measure(struct bare_fabric *bare, const struct bench *bench, const struct way *way)
{
	struct stats_rounds rounds = { .unit = "KiB_per_s" };
	const uint64_t moved = way->count * (uint64_t)way->size / 1024;
	int64_t count = (int64_t)way->size;
	simpler_worker *worker = connect_node(bench);
	uint8_t *bytes = malloc(way->size);
	simpler_tensor_handle handle;
	simpler_tensor local;

	if (!bytes || simpler_tensor_init_1d(&local, bytes, SIMPLER_UINT8, count) != SIMPLER_OK ||
	    simpler_tensor_alloc(worker, 0, SIMPLER_UINT8, 1, &count, NULL, &handle) != SIMPLER_OK)
		bench_give_up("a tensor");
	memset(bytes, 1, way->size);
	(void)time_moves(worker, handle, &local, way);
	(void)time_bare(bare, way);
	for (unsigned i = 0; i < bench->rounds; i++) {
		bench_stir();
		stats_floor_rate(&rounds, moved, time_bare(bare, way));
		bench_stir();
		stats_value_rate(&rounds, moved, time_moves(worker, handle, &local, way));
	}
	stats_report(way->name, &rounds);
	simpler_worker_close(worker);
	free(bytes);
}

static void measure_all(const char *name, const struct bench *bench, bool read)
{
	static const struct {
		const char *suffix;
		size_t size;
		unsigned count;
	} sizes[] = { { "_4k", 4096, 2000 }, { "_1m", MIB, 200 }, { "_64m", 64 * MIB, 4 } };
	struct bare_fabric bare;

	if (!bare_fabric_start(&bare)) {
		printf("%s SKIPPED: libfabric has no tcp;ofi_rxm here\n", name);
		return;
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char full[64];
		const struct way way = { full, read, sizes[i].size, sizes[i].count };

		(void)snprintf(full, sizeof(full), "%s%s", name, sizes[i].suffix);
		measure(&bare, bench, &way);
	}
	bare_fabric_stop(&bare);
}

void case_fabric_write(const char *name, const struct bench *bench)
{
	measure_all(name, bench, false);
}

void case_fabric_read(const char *name, const struct bench *bench)
{
	measure_all(name, bench, true);
}
