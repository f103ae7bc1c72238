/* A random graph of the chaos suite: what it does is drawn from a seed, so that a run is drawn the
 * same again. Pure. */
#ifndef CHAOS_GRAPH_H
#define CHAOS_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#define CHAOS_NODES   3u
#define CHAOS_HERE    6u /* tensors of the parent's shared heap, which travel to nodes */
#define CHAOS_TENSORS (CHAOS_HERE + CHAOS_NODES) /* and one that is stored on each node */
#define CHAOS_STEPS   96u

enum chaos_kind {
	CHAOS_SUB,     /* a sub task of the parent's own */
	CHAOS_MIX,     /* the rest are of the next level: by the orchestration function itself, */
	CHAOS_BY_SUB,  /* by a sub task below it, */
	CHAOS_BY_CHIP, /* by a chip, */
	CHAOS_DEEP,    /* by two sub tasks, one after the other */
	CHAOS_KINDS,
};

#define CHAOS_ANY   UINT32_MAX
#define CHAOS_LOCAL CHAOS_NODES

struct chaos_step {
	enum chaos_kind kind;
	uint32_t where; /* a node, CHAOS_LOCAL for the worker of this machine, CHAOS_ANY of them */
	uint32_t a, b, out; /* tensors; `out` is neither of the others */
	uint64_t salt;
	bool keep;          /* `out` is INOUT, else OUTPUT */
	bool inlined;       /* what travels does so in the message, else staged */
	uint32_t transport; /* of those that tensors are staged by to the node, modulo their number
	                     */
};

struct chaos_graph {
	uint64_t count; /* elements of each tensor */
	uint32_t steps;
	struct chaos_step step[CHAOS_STEPS];
};

/* A xorshift generator: never 0. */
uint64_t chaos_draw(uint64_t *random);
void chaos_graph_draw(struct chaos_graph *graph, uint64_t *random);
/* What each tensor begins with, on every run. */
void chaos_fill(int64_t *tensor, uint64_t count, uint32_t index);
/* One step after the other. `scratch` has room for a tensor. */
void chaos_graph_evaluate(const struct chaos_graph *graph, int64_t *const tensors[CHAOS_TENSORS],
                          int64_t *scratch);

#endif
