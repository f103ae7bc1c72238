/*
 * How a worker with children of its own machine is, as it tells the process above it from time to
 * time. Pure functions; native-endian, as records are.
 */
#ifndef WIRE_VITALS_H
#define WIRE_VITALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simpler/status.h"

#define VITALS_TEXT_MAX 200

/* Children of one kind. The four in the middle add up to `count`. */
struct vitals_workers {
	uint32_t count;
	uint32_t idle, busy; /* those that have a process, without a task and with one */
	uint32_t restarting; /* the next process is being started */
	uint32_t dead;       /* the last ones died young, and the next is started later */
	uint64_t queued;     /* tasks that are ready and wait for one */
	uint64_t deaths;     /* of processes, since the worker began */
};

struct vitals {
	struct vitals_workers subs, chips;
	uint32_t runs;       /* orchestration functions in progress */
	bool helper_stopped; /* the spawn helper is stopped: who dies is not replaced */
	uint32_t chips_shut; /* chips whose device could not be opened */
	char device_error[VITALS_TEXT_MAX + 1]; /* of one of them; "" when all could */
};

/* Longest encoding. */
#define VITALS_BYTES_MAX (2 * (5 * 4 + 2 * 8) + 4 + 1 + 4 + 1 + VITALS_TEXT_MAX)

/* The bytes written, or 0 when `capacity` is too small, which VITALS_BYTES_MAX is not. */
size_t vitals_encode(const struct vitals *vitals, void *bytes, size_t capacity);
/* SIMPLER_EPROTOCOL for anything but what is described above; `*out` is unspecified then. */
simpler_status vitals_decode(const void *bytes, size_t size, struct vitals *out);

#endif
