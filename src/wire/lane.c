#include "wire/lane.h"

#include <string.h>

static const char *const names[SIMPLER_LANES] = {
	[SIMPLER_LANE_AUTO] = "auto",     [SIMPLER_LANE_UNARY] = "unary",
	[SIMPLER_LANE_STREAM] = "stream", [SIMPLER_LANE_SHM] = "shm",
	[SIMPLER_LANE_FABRIC] = "fabric",
};

const char *simpler_lane_name(simpler_lane lane)
{
	return (unsigned)lane < SIMPLER_LANES ? names[lane] : "unknown lane";
}

bool lane_by_name(const char *name, simpler_lane *out)
{
	for (int i = 0; i < SIMPLER_LANES; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (simpler_lane)i;
			return true;
		}
	}
	return false;
}
