/* A callable of bench_module.so as it goes to a node, for cases that do without a worker. */
#ifndef BENCH_CALLABLE_H
#define BENCH_CALLABLE_H

#include "cases.h"
#include "catalog/payload.h"

struct bench_payload {
	struct digest digest;
	uint64_t id, version;
	simpler_bytes payload; /* malloc'd */
};

/* The orchestration function with this name. */
void bench_payload_make(const struct bench *bench, const char *name, struct bench_payload *out);
void bench_payload_release(struct bench_payload *payload);

#endif
