/* The names of lanes, as options, messages and people have them. */
#ifndef WIRE_LANE_H
#define WIRE_LANE_H

#include <stdbool.h>

#include "simpler/lane.h"

#define SIMPLER_LANES 5

/* False for what is no lane's name. */
bool lane_by_name(const char *name, simpler_lane *out);

#endif
