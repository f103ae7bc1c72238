/* The cases of simpler-bench. Each measures its figure and its floor in turn, several rounds. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

struct bench_options {
	unsigned rounds;      /* 1 to STATS_MAX_ROUNDS */
	unsigned iterations;  /* a round */
	const char *module;   /* bench_module.so */
};

typedef void bench_case(const char *name, const struct bench_options *options);

bench_case case_rpc_hop;       /* Heartbeat; floor: a bare unary echo of the same size */
bench_case case_dispatch;      /* a remote no-op, one outstanding; floor: a bare unary echo */
bench_case case_dispatch_sub;  /* the same with one sub task below it */
bench_case case_dispatch_many; /* 64 outstanding, a second; floor: the bare echo with as many */

#endif
