/*
 * How dispatches go to a node, and what became of them comes back.
 *
 * A program says so for each node when it adds it, in simpler_node_options; by default the best
 * lane is taken that both sides have. Whichever it is, a task runs at most once, deadlines and
 * stops reach it, and its errors read the same: lanes differ in what a dispatch costs. One that is
 * lost while its node stays is replaced by calls at once, which is logged once and counted in
 * simpler_traffic, and opened again with a heartbeat.
 */
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
