/* How dispatches go to a node, and what became of them comes back: see docs/architecture.md. */
#ifndef SIMPLER_LANE_H
#define SIMPLER_LANE_H

#include "simpler/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is named and not there is an error when a worker connects to its nodes. Which one it is
 *  does not change what a program sees, but for the time it takes. */
typedef enum simpler_lane {
	/** The fastest that both sides have. */
	SIMPLER_LANE_AUTO = 0,
	SIMPLER_LANE_UNARY = 1,  /**< a gRPC call for each: everywhere */
	SIMPLER_LANE_STREAM = 2, /**< one gRPC stream for all */
	/** Memory that the node shares with this process, which must be on the same machine. */
	SIMPLER_LANE_SHM = 3,
	SIMPLER_LANE_FABRIC = 4 /**< messages of libfabric */
} simpler_lane;

/** "auto", "unary", ...; never NULL. */
SIMPLER_API const char *simpler_lane_name(simpler_lane lane);

#ifdef __cplusplus
}
#endif

#endif
