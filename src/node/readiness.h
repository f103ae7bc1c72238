/*
 * Whether a node is ready, and if not, why. It is computed from the state of its parts each time
 * somebody asks; only since when a reason holds is remembered, as nobody else does.
 *
 * | what     | when                                               | stops                |
 * |----------|----------------------------------------------------|----------------------|
 * | draining | the daemon was told to end                         | all three services   |
 * | engine   | it is not up, or does not answer                   | L3Worker, Catalog    |
 * |          | it is being given its callables                    | L3Worker             |
 * | workers  | of a kind that the node has no process is there,   | L3Worker             |
 * |          | or the spawn helper is stopped                     |                      |
 * | devices  | no chip's device could be opened                   | L3Worker             |
 * | pool     | there is no room for one byte, or no handle        | TensorPool           |
 * | catalog  | no callable or no module more finds room           | Catalog              |
 *
 * TensorPool needs no engine: tensors are the front end's. A queue that is full is no reason: it
 * says so to each dispatch, and has room again before anybody could act on it.
 *
 * Thread-safe.
 */
#ifndef NODE_READINESS_H
#define NODE_READINESS_H

#include <stdatomic.h>
#include <stdint.h>

struct node;

/* Services, as bits. */
enum {
	READINESS_WORKER = 1,
	READINESS_CATALOG = 2,
	READINESS_POOL = 4,
	READINESS_ALL = 7,
};

enum readiness_what {
	READINESS_DRAINING,
	READINESS_ENGINE,
	READINESS_WORKERS,
	READINESS_DEVICES,
	READINESS_NO_POOL,
	READINESS_NO_CATALOG,
	READINESS_WHATS,
};

/* A part of the node. Zeroed memory is one for which no reason holds. */
struct readiness {
	_Atomic int64_t since[READINESS_WHATS]; /* by base/clock.h; 0: it does not hold */
};

#define READINESS_WHY_MAX 768

struct readiness_reason {
	enum readiness_what what;
	unsigned services;
	int64_t since;
	char why[READINESS_WHY_MAX];
};

struct readiness_report {
	unsigned count, stopped; /* `stopped`: the services that do not serve */
	struct readiness_reason reasons[READINESS_WHATS];
};

void readiness_report(struct node *node, struct readiness_report *out);
const char *readiness_name(enum readiness_what what);

#endif
