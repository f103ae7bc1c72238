/* What libfabric has to be told by its environment: see settings.c. */
#ifndef FABRIC_SETTINGS_H
#define FABRIC_SETTINGS_H

#include "base/error.h"

/* Have `work` call libfabric for the first time, with the settings in the environment, which are
 * gone from it afterwards. Once in a process. */
simpler_status settings_apply(void (*work)(void));

#endif
