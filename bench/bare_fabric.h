/*
 * The floor of our one-sided transfers: fi_writemsg() and fi_read() of libfabric's tcp;ofi_rxm from
 * one bare process into the memory of another, each transfer in one piece and after the one before.
 * A write ends when its bytes are there (FI_DELIVERY_COMPLETE), as those of a program do.
 *
 * Both processes are forked, so that comes before the caller has threads or uses gRPC. They end
 * with the caller.
 */
#ifndef BENCH_BARE_FABRIC_H
#define BENCH_BARE_FABRIC_H

#include <stdint.h>

#include "bare_process.h"

#define BARE_FABRIC_MOST ((size_t)64 << 20)

struct bare_fabric {
	struct bare_process server, client;
};

/* False when it does not work here. */
bool bare_fabric_start(struct bare_fabric *fabric);
void bare_fabric_stop(struct bare_fabric *fabric);
/* `count` transfers of `size` bytes, and what they took. Blocks; false when one failed. */
bool bare_fabric_run(struct bare_fabric *fabric, bool read, size_t size, uint64_t count,
                     double *nanoseconds);

#endif
