/* The cases of simpler-bench. Each measures its figure and its floor in turn, several rounds. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include "bare_grpc.h"
#include "daemon.h"

struct callables;
struct modules;
struct exec_callable;

struct bench {
	unsigned rounds;     /* 1 to STATS_MAX_ROUNDS */
	unsigned iterations; /* a round */
	/* The same for what takes a microsecond: as many as last until the scheduler has found two
	 * processes a core each, which it does when its tick comes. */
	unsigned round_trips;
	const char *module; /* bench_module.so */
	double *samples;    /* `round_trips` of them, for a case to use */
	/* For the cases of remote tasks; the others have neither. */
	struct bare_grpc_client *bare;
	struct daemon node;
};

typedef void bench_case(const char *name, const struct bench *bench);

/* Remote ones; floor: a bare unary echo. */
bench_case case_rpc_hop;       /* Heartbeat */
bench_case case_dispatch;      /* a remote no-op, one outstanding */
bench_case case_dispatch_sub;  /* the same with one sub task below it */
bench_case case_dispatch_many; /* 64 outstanding, a second; floor: the bare echo with as many */

/* By one lane, which is in the name: lane_LANE, lane_LANE_64. Floor: bare records of the same size.
 */
bench_case case_lane;      /* a remote no-op, one outstanding */
bench_case case_lane_64;   /* as many outstanding, a second */
bench_case case_lane_1000; /* likewise */
bench_case case_floors;    /* those floors alone */

/* What a remote no-op costs the parent with 8 nodes; floor: with one. */
bench_case case_scale_nodes;

/* A table of what others take, whichever were there when this was built. */
bench_case case_peers;

/* Tensors on a node. */
bench_case case_stream_push; /* 64 MiB to it; floor: a bare stream of the same chunks */
bench_case case_stream_pull; /* and from it */
bench_case case_shm_write;   /* 64 MiB into shared memory; floor: memcpy */
/* 4 KiB, 1 MiB and 64 MiB by a fabric; floor: bare fi_writemsg() and fi_readmsg() of the same. */
bench_case case_fabric_write;
bench_case case_fabric_read;
/* The tail of a remote no-op while 64 MiB come in; floor: without. */
bench_case case_interference;
bench_case case_tensor_task; /* a remote no-op with a tensor that is there; floor: without */
bench_case case_staged_task; /* with one that goes and comes; floor: each by itself, in turn */

/* Within this process; floor: memory allocated and freed. */
bench_case case_submit; /* a submit with two tensors, and nothing executed */
bench_case case_turn;   /* a task from its submit to its end, by a child that ends it at once */

/* On this machine, with an engine or daemons of its own. */
bench_case case_hop; /* a task to an engine and back, without gRPC; floor: a cache line, as below */
bench_case case_hop_many; /* each of a thousand under way */
bench_case case_recovery; /* from an engine's death to the next task; floor: executing a process */

/* On this machine; floor: a cache line to another process and back. */
bench_case case_mailbox;           /* to a sub worker and back, without the graph */
bench_case case_tasks_independent; /* sub tasks without tensors on two sub workers, each of many */
bench_case case_tasks_chain;       /* the same where each waits for the one before */
bench_case case_fan;               /* one writes what a thousand read, and one writes it again */
bench_case case_task_latency;      /* a run of one */

/*
 * Before each measurement: keep all cores busy for a moment. Where the scheduler happens to have
 * put two processes that talk, on one core or on two, makes a factor of two and more between runs
 * of the same program, and it leaves them there; this has it place them anew, so that the medians
 * over many rounds compare the programs and not their luck.
 */
void bench_stir(void);
/* A fifth of a millisecond, between two looks at what nobody rings for. */
void bench_pause(void);

/* A daemon with two sub workers. */
void bench_start_node(struct daemon *node);

/* The sub task that does nothing, for a case that goes without a worker. */
const struct exec_callable *bench_callable(const struct bench *bench, struct modules *modules,
                                           struct callables *table);

/* End the program with a message and simpler's last error. */
_Noreturn void bench_give_up(const char *what);

#endif
