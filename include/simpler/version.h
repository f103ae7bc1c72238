/* Three numbers that change for different reasons and are never compared with each other. */
#ifndef SIMPLER_VERSION_H
#define SIMPLER_VERSION_H

#include "simpler/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The library's version: the C interface in these headers. */
#define SIMPLER_VERSION_MAJOR 0
#define SIMPLER_VERSION_MINOR 1
#define SIMPLER_VERSION_PATCH 0
#define SIMPLER_VERSION       "0.1.0"

/** What parent and node speak. A node refuses a payload of another wire version. */
#define SIMPLER_WIRE_VERSION 1

/** What a module is compiled against: the callable signatures and simpler/module.h. */
#define SIMPLER_CALLABLE_ABI 1

/** SIMPLER_VERSION of the library in use, which may be newer than the headers compiled against. */
SIMPLER_API const char *simpler_version(void);

#ifdef __cplusplus
}
#endif

#endif
