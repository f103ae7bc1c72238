/* The cases of simpler-bench. Each measures its figure and its floor in turn, several rounds. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include "bare_grpc.h"
#include "daemon.h"

struct bench {
	unsigned rounds;     /* 1 to STATS_MAX_ROUNDS */
	unsigned iterations; /* a round */
	const char *module;  /* bench_module.so */
	struct bare_grpc_client *bare;
	struct daemon node;
	double *samples; /* `iterations` of them, for a case to use */
};

typedef void bench_case(const char *name, const struct bench *bench);

bench_case case_rpc_hop;       /* Heartbeat; floor: a bare unary echo of the same size */
bench_case case_dispatch;      /* a remote no-op, one outstanding; floor: a bare unary echo */
bench_case case_dispatch_sub;  /* the same with one sub task below it */
bench_case case_dispatch_many; /* 64 outstanding, a second; floor: the bare echo with as many */

/*
 * Before each measurement: keep all cores busy for a moment. Where the scheduler happens to have
 * put two processes that talk, on one core or on two, makes a factor of two and more between runs
 * of the same program, and it leaves them there; this has it place them anew, so that the medians
 * over many rounds compare the programs and not their luck.
 */
void bench_stir(void);

/* End the program with a message and simpler's last error. */
_Noreturn void bench_give_up(const char *what);

#endif
