/* A parent whose runs dispatch tasks of one callable to nodes, or give them to sub workers here. */
#ifndef BENCH_DISPATCHING_H
#define BENCH_DISPATCHING_H

#include "cases.h"
#include "simpler/simpler.h"

struct dispatching {
	simpler_worker *worker;
	simpler_worker_id node; /* the last one */
	simpler_orch_fn fn;
	simpler_sub sub;
	bool local;     /* it is `sub` that is run */
	unsigned tasks; /* a run */
};

struct dispatching_options {
	const struct daemon *nodes;
	unsigned node_count;
	const char *function; /* of bench_module.so */
	simpler_lane lane;
	unsigned outstanding; /* on each node */
};

/* `tasks` is 1 then. False when it does not work; the others give up. */
bool dispatching_try(const struct bench *bench, const struct dispatching_options *options,
                     struct dispatching *out);
/* The same with so many sub workers of this machine. */
void dispatching_start_local(const struct bench *bench, unsigned sub_workers,
                             struct dispatching *out);
void dispatching_connect(const struct bench *bench, const struct dispatching_options *options,
                         struct dispatching *out);
void dispatching_close(struct dispatching *work);

void dispatching_run(const struct dispatching *work);
void dispatching_one_by_one(const struct dispatching *work, double *samples, unsigned count);
/* How many dispatches a message to the last node had so far. */
double dispatching_batch(const struct dispatching *work);
/* A run of so many. Returns the nanoseconds. */
int64_t dispatching_many(struct dispatching *work, unsigned tasks);

#endif
